"""The whole privacy statement of a config, computed without training and without torch."""

from collections.abc import Mapping
from dataclasses import dataclass

from triptych.config.private import PrivateConfig
from triptych.privacy.accounting import as_published, epsilon, noise_for, steps_for
from triptych.privacy.certificate import Terms
from triptych.privacy.mechanism import SharedDraw
from triptych.private.budget import terms

FURTHEST = 100  # plans up to which the steps for a target are looked for
TARGETS = (1.0, 10.0)  # epsilons at which the field compares methods
PUBLISHED = SharedDraw(noise_multiplier=1.07, steps=20_000, discriminators=1000, rows=32)
PUBLISHED_DELTA = 1e-5


@dataclass(frozen=True)
class Calibration:
    """What reaches `target` when one of the two values is changed."""

    target: float
    noise_multiplier: float  # at the planned steps
    steps: int  # at the planned noise
    more: bool  # steps would cost no more: they were looked for up to `FURTHEST` times the plan


@dataclass(frozen=True)
class Statement:
    """What a training would promise, and what the published one promises."""

    terms: Terms
    budget: float
    epsilons: Mapping[str, float]  # of the plan, by accountant
    calibration: tuple[Calibration, ...]
    as_published: float  # what the published analysis claims for its setting
    shared_draw: float  # the epsilon of that setting


def calibrate(promise: Terms, target: float) -> Calibration:
    """The noise multiplier, and the steps, at which the plan costs at most `target`."""
    event, delta, accountant = promise.event, promise.delta, promise.accountant
    most = FURTHEST * event.steps
    noise = noise_for(event, target, delta, accountant=accountant)
    steps = steps_for(event, target, delta, accountant=accountant, at_most=most)
    return Calibration(target, noise, steps, more=steps == most)


def privacy_statement(config: PrivateConfig) -> Statement:
    """Everything that can be said of `config` before its first step."""
    promise = terms(config)
    event = promise.event
    return Statement(
        promise,
        config.epsilon_budget,
        {name: epsilon(event, config.delta, accountant=name) for name in event.accountants},
        tuple(calibrate(promise, target) for target in sorted({*TARGETS, config.epsilon_budget})),
        as_published(PUBLISHED, PUBLISHED_DELTA),
        epsilon(PUBLISHED, PUBLISHED_DELTA, accountant="pld"),
    )

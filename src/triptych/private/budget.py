"""What the planned training promises and whether it fits its budget: known before any work, without torch."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from triptych.config.checks import require
from triptych.config.private import PrivateConfig
from triptych.config.system import TrainerConfig
from triptych.errors import ConfigError
from triptych.privacy.accounting import epsilon, noise_for, steps_for
from triptych.privacy.certificate import Terms
from triptych.privacy.mechanism import (
    ClientGradients,
    ClientUpdates,
    EncodedEmbedding,
    Event,
    FullEnsemble,
    IndependentDraws,
    MeanEmbedding,
    SampledGradients,
    SharedDraw,
    VoteHistogram,
)

TRIAL = 1.0  # noise multiplier from which calibration starts
REPLAYS = 10  # plans that a training which is killed again and again may pay for, and at least FEWEST steps
FEWEST = 1000


def own_key(config: PrivateConfig) -> str:
    """Where the chosen method keeps its noise multiplier and steps."""
    return "private" if config.method == "gswgan" else f"private.{config.method}"


def chosen_noise(config: PrivateConfig) -> float | None:
    """The noise multiplier of the chosen method; None where the budget is to decide."""
    own: Any = config if config.method == "gswgan" else getattr(config, config.method)
    return own.noise_multiplier


def with_noise(config: PrivateConfig, noise_multiplier: float) -> PrivateConfig:
    """`config` with this noise multiplier for the chosen method."""
    if config.method == "gswgan":
        return replace(config, noise_multiplier=noise_multiplier)
    own: Any = getattr(config, config.method)
    changes: dict[str, Any] = {config.method: replace(own, noise_multiplier=noise_multiplier)}
    return replace(config, **changes)


def calibrated(config: PrivateConfig) -> PrivateConfig:
    """`config` with a number for its noise multiplier: where it is null, what the budget just pays for."""
    if chosen_noise(config) is not None:
        return config
    promise = terms(with_noise(config, TRIAL))
    noise = noise_for(promise.event, config.epsilon_budget, promise.delta, accountant=promise.accountant)
    return with_noise(config, noise)


def terms(config: PrivateConfig) -> Terms:
    """The promise that a calibrated `config` makes."""
    noise = chosen_noise(config)
    assert noise is not None, "calibrate first"
    return TERMS[config.method](config, noise)


def _rng(config: PrivateConfig) -> str:
    return "secure" if config.secure_rng else "seeded"


def _gswgan_event(config: PrivateConfig, noise: float) -> Event:
    if config.release == "full":
        return FullEnsemble(noise, config.steps)
    draws = {"independent": IndependentDraws, "shared": SharedDraw}[config.release]
    return draws(noise, config.steps, config.discriminators, config.rows)


def _gswgan(config: PrivateConfig, noise: float) -> Terms:
    return Terms(
        event=_gswgan_event(config, noise),
        discriminators=config.discriminators,
        rows=config.rows,
        delta=config.delta,
        accountant=config.accounted_by,
        clip_norm=config.clip_norm,
        sensitivity=2 * block_norm(config),
        rng=_rng(config),
    )


def _dp_merf(config: PrivateConfig, noise: float) -> Terms:
    return Terms(MeanEmbedding(noise), config.delta, "gdp", clip_norm=1.0, sensitivity=2.0, rng=_rng(config))


def _dp_merf_ae(config: PrivateConfig, noise: float) -> Terms:
    own = config.dp_merf_ae
    return Terms(
        EncodedEmbedding(noise, own.encoder_steps + 1, own.sample_rate, own.gradient_noise),
        config.delta,
        "pld",
        clip_norm=own.clip_norm,
        sensitivity=2 * own.clip_norm,
        rng=_rng(config),
    )


def _dp_sgd_gan(config: PrivateConfig, noise: float) -> Terms:
    own = config.dp_sgd_gan
    return Terms(
        SampledGradients(noise, own.steps, own.sample_rate),
        config.delta,
        "pld",
        clip_norm=own.clip_norm,
        sensitivity=2 * own.clip_norm,
        rng=_rng(config),
    )


def _gpate(config: PrivateConfig, noise: float) -> Terms:
    votes = config.rows * config.gpate.directions  # of one discriminator, in a step
    return Terms(
        VoteHistogram(noise, config.gpate.steps),
        config.delta,
        "gdp",
        clip_norm=math.sqrt(votes),
        sensitivity=math.sqrt(2 * votes),
        rng=_rng(config),
        discriminators=config.discriminators,
        rows=config.rows,
    )


def _fed_gswgan(config: PrivateConfig, noise: float) -> Terms:
    own, block = config.fed_gswgan, client_norm(config)
    return Terms(
        ClientGradients(noise, own.steps, own.noise_at),
        config.delta,
        "gdp",
        clip_norm=config.clip_norm,
        sensitivity=2 * block,
        rng=_rng(config),
        discriminators=own.clients,
        rows=config.rows,
    )


def _fed_avg_gan(config: PrivateConfig, noise: float) -> Terms:
    own = config.fed_avg_gan
    return Terms(
        ClientUpdates(noise, own.steps, own.sample_rate),
        config.delta,
        "pld",
        clip_norm=own.clip_norm,
        sensitivity=2 * client_norm(config),
        rng=_rng(config),
        discriminators=own.clients,
    )


TERMS: dict[str, Callable[[PrivateConfig, float], Terms]] = {
    "gswgan": _gswgan,
    "dp_merf": _dp_merf,
    "dp_merf_ae": _dp_merf_ae,
    "dp_sgd_gan": _dp_sgd_gan,
    "gpate": _gpate,
    "fed_gswgan": _fed_gswgan,
    "fed_avg_gan": _fed_avg_gan,
}


def client_norm(config: PrivateConfig) -> float:
    """L2 norm to which what one client adds to one release is clipped."""
    if config.method == "fed_avg_gan":
        return config.fed_avg_gan.clip_norm
    return config.clip_norm * math.sqrt(config.rows)


def block_norm(config: PrivateConfig) -> float:
    """L2 norm to which what one discriminator adds to one release is clipped."""
    return config.clip_norm * (math.sqrt(config.rows) if config.release == "full" else 1.0)


def affordable_steps(config: PrivateConfig) -> int:
    """How many steps the budget pays for, beyond the plan only as far as replays after kills can need.

    Raises ConfigError, naming what would fit, where the planned steps cost more.
    """
    promise = terms(config)
    event, delta, accountant = promise.event, promise.delta, promise.accountant
    budget = config.epsilon_budget
    cost = epsilon(event, delta, accountant=accountant)
    most = event.steps if cost > budget else max(REPLAYS * event.steps, FEWEST)
    steps = steps_for(event, budget, delta, accountant=accountant, at_most=most)
    if cost > budget:
        enough = noise_for(event, budget, delta, accountant=accountant)
        noise = math.ceil(enough * 1000) / 1000  # what is printed must fit when it is typed in
        key = "encoder_steps" if isinstance(event, EncodedEmbedding) else "steps"
        fewer = f" or {key}={steps - (key != 'steps')}" if steps else ""
        raise ConfigError(
            f"{own_key(config)}.noise_multiplier={event.noise_multiplier} would, at steps={event.steps}, "
            f"cost epsilon={cost:.4g} ({accountant}, delta={delta:g}), above "
            f"private.epsilon_budget={budget:g}; what fits: noise_multiplier={noise:.3f}{fewer}"
        )
    return steps


def check_devices(trainer: TrainerConfig, config: PrivateConfig) -> None:
    """Raise ConfigError where the work cannot be shared out to forked processes."""
    require(
        trainer.devices == 1 or config.method == "gswgan",
        f"trainer.devices={trainer.devices}: private.method={config.method} trains on one device; "
        "set trainer.devices=1",
    )
    require(
        config.discriminators % trainer.devices == 0,
        f"trainer.devices={trainer.devices} must divide private.discriminators={config.discriminators}: "
        "every process trains equally many",
    )

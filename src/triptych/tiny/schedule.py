"""In which order a supernet learns its subnets.

`tinynas` (MCUNet, NeurIPS 2020, appendix D): the largest subnet, channels sorted,
then uniformly random subnets. `sandwich` (BigNAS, ECCV 2020; AttentiveNAS, CVPR
2021): in every batch the largest, the smallest and random ones, which learn from
the largest's answers. `progressive` (Once-for-All, ICLR 2020, section 3.3 and
`train_ofa_net.py`): the largest first, then kernels, depths and widths shrink in
turn, all taught by the largest as it was; OFA's shares of epochs, learning rates
and subnets a batch, without its warm-up and dropout.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from triptych.config.tiny import SupernetConfig
from triptych.tiny.arch import SearchSpace


@dataclass(frozen=True)
class Phase:
    """One training run: which subnets, how many a batch, and who teaches them."""

    name: str  # of its curves
    space: SearchSpace  # the choices that are drawn
    subnets: int  # a batch
    epochs: int
    learning_rate: float  # peak of the cosine
    sandwich: bool = False  # the largest and the smallest are always among the subnets
    taught: bool = False  # by a copy of the supernet as it was after the first phase
    sorts: bool = False  # channels, before it begins


class _Step(NamedTuple):
    """A phase of OFA: how many of the largest choices it draws from (0: all)."""

    name: str
    kernels: int
    depths: int
    ratios: int
    epochs: int
    learning_rate: float  # in units of the first
    subnets: float  # in units of the last phase's


OFA = (
    _Step("kernel", 0, 1, 1, 120, 1, 1 / 4),
    _Step("depth1", 0, 2, 1, 25, 1 / 12, 1 / 2),
    _Step("depth2", 0, 0, 1, 120, 1 / 4, 1 / 2),
    _Step("width1", 0, 0, 2, 25, 1 / 12, 1),
    _Step("width2", 0, 0, 0, 120, 1 / 4, 1),
)


def schedule(space: SearchSpace, config: SupernetConfig) -> list[Phase]:
    """The phases of `config.schedule`, the largest subnet first."""
    largest = Phase("largest", shrink(space, 1, 1, 1), 1, config.largest_epochs, config.learning_rate)
    if config.schedule == "progressive":
        return [largest, *_progressive(space, config)]
    rest = Phase(
        name="random",
        space=space,
        subnets=config.subnets_per_step,
        epochs=config.epochs,
        learning_rate=config.learning_rate,
        sandwich=config.schedule == "sandwich",
        sorts=True,
    )
    return [largest, rest]


def shrink(space: SearchSpace, kernels: int, depths: int, ratios: int) -> SearchSpace:
    """`space` with so many of its largest choices only; 0 keeps all."""
    return replace(
        space,
        kernel_sizes=space.kernel_sizes[-kernels:],
        expand_ratios=space.expand_ratios[-ratios:],
        stages=tuple(replace(stage, depths=stage.depths[-depths:]) for stage in space.stages),
    )


def _progressive(space: SearchSpace, config: SupernetConfig) -> Iterator[Phase]:
    steps = list(_new_steps(space))
    total = sum(step.epochs for step, _ in steps)
    sorted_yet = False
    for step, choices in steps:
        widens = len(choices.expand_ratios) > 1
        yield Phase(
            name=step.name,
            space=choices,
            subnets=max(1, round(step.subnets * config.subnets_per_step)),
            epochs=max(1, round(config.epochs * step.epochs / total)),
            learning_rate=step.learning_rate * config.learning_rate,
            taught=True,
            sorts=widens and not sorted_yet,
        )
        sorted_yet = widens


def _new_steps(space: SearchSpace) -> Iterator[tuple[_Step, SearchSpace]]:
    """OFA's phases that add a choice; the second of a pair where both would be the same."""
    choices = [shrink(space, step.kernels, step.depths, step.ratios) for step in OFA]
    before = shrink(space, 1, 1, 1)
    for i, (step, here) in enumerate(zip(OFA, choices, strict=True)):
        first_of_pair = step.name.endswith("1")
        if here != before and not (first_of_pair and here == choices[i + 1]):
            yield step, here
            before = here

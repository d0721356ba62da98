"""Stage two of TinyNAS: evolution of subnets under the board's hard limits.

MCUNet (NeurIPS 2020), appendix D: the best `parents` of a population make the
next one, half by crossover and half by mutation. A candidate that the cost
tables rule out is drawn again at once, for their peaks are lower bounds; the
others are costed by the real planner before their accuracy is measured. What
does not fit is drawn again, and so is what is known. Of equal accuracies the
network with fewer MACs is better.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from triptych.config.tiny import SearchConfig
from triptych.errors import ConfigError
from triptych.tiny.arch import ArchConfig, SearchSpace
from triptych.tiny.cost import Cost, Costing, Limits

ATTEMPTS = 1000  # subnets that the planner costs for one candidate that fits
DRAWS = 100_000  # subnets that the tables cost for it
REPEATS = 20  # draws of known subnets before one is accepted: a small space runs out of new ones


@dataclass(frozen=True)
class Candidate:
    """An evaluated subnet."""

    arch: ArchConfig
    cost: Cost
    accuracy: float

    @property
    def rank(self) -> tuple[float, int]:
        """Larger is better."""
        return self.accuracy, -self.cost.macs


@dataclass
class Evolution:
    """A search in one space; `evaluated` remembers every architecture, so none is measured twice."""

    space: SearchSpace
    cost: Costing
    limits: Limits
    accuracy_of: Callable[[ArchConfig], float]
    rng: np.random.Generator
    may_fit: Callable[[ArchConfig], bool] = lambda _: True  # False only where the planner would refuse too
    evaluated: dict[ArchConfig, Candidate] = field(default_factory=dict)

    def run(self, config: SearchConfig, *, progress: bool = False) -> Candidate:
        """Evolve, and return the best candidate.

        Raises ConfigError where no fitting subnet is found.
        """
        total = config.population * (1 + config.iterations)
        with tqdm(total=total, desc="search", disable=not progress) as bar:

            def evaluate(draw: Callable[[], ArchConfig]) -> Candidate:
                candidate = self.evaluate(*self._fitting(draw))
                bar.update()
                bar.set_postfix(accuracy=f"{candidate.accuracy:.4f}", macs=candidate.cost.macs)
                return candidate

            population = [evaluate(lambda: self.space.random(self.rng)) for _ in range(config.population)]
            for _ in range(config.iterations):
                different = dict.fromkeys(population)  # or copies of the best crowd out the rest
                parents = sorted(different, key=lambda c: c.rank, reverse=True)[: config.parents]
                children = self._children(parents, config)
                population = parents + [evaluate(draw) for draw in children]
        return max(population, key=lambda c: c.rank)

    def sample(self, size: int) -> list[Candidate]:
        """Measure so many random subnets that fit."""
        return [self.evaluate(*self._fitting(lambda: self.space.random(self.rng))) for _ in range(size)]

    def evaluate(self, arch: ArchConfig, cost: Cost) -> Candidate:
        """Measure the accuracy of `arch`, or remember it."""
        if arch not in self.evaluated:
            self.evaluated[arch] = Candidate(arch, cost, self.accuracy_of(arch))
        return self.evaluated[arch]

    def _children(self, parents: list[Candidate], config: SearchConfig) -> list[Callable[[], ArchConfig]]:
        def pick() -> ArchConfig:
            return parents[self.rng.integers(len(parents))].arch

        def cross() -> ArchConfig:
            return self.space.crossover(pick(), pick(), self.rng)

        def mutate() -> ArchConfig:
            return self.space.mutate(pick(), self.rng, config.mutation_probability)

        crossed = config.population // 2
        return [cross] * crossed + [mutate] * (config.population - crossed)

    def _fitting(self, draw: Callable[[], ArchConfig]) -> tuple[ArchConfig, Cost]:
        """A subnet that fits; a new one, unless `REPEATS` draws in a row were known."""
        repeats = attempts = draws = 0
        while attempts < ATTEMPTS and draws < DRAWS:
            arch, draws = draw(), draws + 1
            repeats += arch in self.evaluated
            if (arch in self.evaluated and repeats < REPEATS) or not self.may_fit(arch):
                continue
            cost, attempts = self.cost(self.space, arch), attempts + 1
            if self.limits.fit(cost):
                return arch, cost
        raise ConfigError(
            f"none of {draws} subnets of width_mult={self.space.width_mult}, "
            f"resolution={self.space.resolution} fits board.sram={self.limits.sram} and "
            f"board.flash={self.limits.flash}; choose a larger board or raise tiny.space.min_share"
        )


def pareto_front(candidates: Sequence[Candidate], size: Callable[[Cost], int]) -> list[Candidate]:
    """The candidates that no other beats in both accuracy and `size`, smallest first."""
    front: list[Candidate] = []
    for candidate in sorted(candidates, key=lambda c: (size(c.cost), -c.accuracy)):
        if not front or candidate.accuracy > front[-1].accuracy:
            front.append(candidate)
    return front


def candidates_csv(candidates: Sequence[Candidate], front: Sequence[Candidate]) -> str:
    """One row a candidate in the order of evaluation; `front` is 1 where it is on the Pareto front."""
    header = ["index", "accuracy", *candidates[0].cost.to_json(), "front"]
    rows = [
        [i, f"{c.accuracy:.6g}", *c.cost.to_json().values(), int(c in front)]
        for i, c in enumerate(candidates)
    ]
    return "".join(",".join(map(str, row)) + "\n" for row in [header, *rows])

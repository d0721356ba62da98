from dataclasses import replace

import numpy as np
import pytest
from subnets import SPACE

from triptych.config.tiny import SearchConfig
from triptych.errors import ConfigError
from triptych.tiny.arch import ArchConfig, Block, SearchSpace
from triptych.tiny.cost import Cost, Limits, subnet_cost
from triptych.tiny.predictor import fit_predictor, search
from triptych.tiny.search import Candidate, Evolution, candidates_csv, pareto_front
from triptych.tiny.tables import CostTables

SETTINGS = SearchConfig(
    population=16, parents=4, iterations=8, mutation_probability=0.1, recalibration_size=1
)
ROOMY = Limits(1 << 20, 1 << 20)
TARGET = SPACE.largest()


def cost_of(space: SearchSpace, arch: ArchConfig) -> Cost:
    """A stand-in that grows with every choice: Flash with all blocks, SRAM with the largest."""
    sizes = [b.kernel_size**2 * b.expand_ratio for stage in arch.stages for b in stage]
    return Cost(macs=sum(sizes), parameters=sum(sizes), peak_sram=max(sizes), flash=sum(sizes))


def similarity(arch: ArchConfig) -> float:
    """Share of the target's blocks that `arch` has: a stand-in for accuracy whose best is known."""
    pairs = zip(arch.stages, TARGET.stages, strict=True)
    hits = sum(a == b for one, two in pairs for a, b in zip(one, two, strict=False))
    return hits / sum(TARGET.depth)


def evolution(limits: Limits = ROOMY, seed: int = 0) -> Evolution:
    return Evolution(SPACE, cost_of, limits, similarity, np.random.default_rng(seed))


def test_evolution_finds_more_than_random_draws_of_the_same_number():
    """Otherwise the machinery is a slow way to draw at random."""
    gains = []
    for seed in range(3):
        search = evolution(seed=seed)
        found = search.run(SETTINGS).accuracy
        rng = np.random.default_rng(seed)
        luck = max(similarity(SPACE.random(rng)) for _ in search.evaluated)
        gains.append(found - luck)
    assert np.mean(gains) > 0.1


def test_every_evaluated_subnet_is_within_the_limits():
    """The limits are hard: nothing beyond them may even be measured."""
    limits = Limits(sram=25 * 3, flash=300)
    search = evolution(limits)
    search.run(SETTINGS)
    assert all(limits.fit(c.cost) for c in search.evaluated.values())
    assert not limits.fit(cost_of(SPACE, TARGET))


def test_no_subnet_is_measured_twice():
    """Accuracy is the expensive part."""
    measured = []

    def accuracy_of(arch: ArchConfig) -> float:
        measured.append(arch)
        return similarity(arch)

    Evolution(SPACE, cost_of, ROOMY, accuracy_of, np.random.default_rng(0)).run(SETTINGS)
    assert len(measured) == len(set(measured))
    assert len(measured) > 72  # of 144: known subnets are drawn again


def test_the_search_repeats_itself():
    """arch.json decides everything downstream, so it must follow from the seed."""
    assert evolution().run(SETTINGS) == evolution().run(SETTINGS)


def test_the_best_is_never_lost():
    """Parents survive into the next population."""
    search = evolution()
    best = search.run(SETTINGS)
    assert best.rank == max(c.rank for c in search.evaluated.values())


def test_limits_that_nothing_meets_end_the_search():
    """An endless loop is the alternative."""
    with pytest.raises(ConfigError, match="none of 1000 subnets"):
        evolution(Limits(1, 1)).run(SETTINGS)


def candidate(macs: int, accuracy: float) -> Candidate:
    arch = ArchConfig(1.0, 8, ((Block(3, macs),),))
    return Candidate(arch, Cost(macs, macs, macs, macs), accuracy)


def test_the_front_holds_what_nothing_beats():
    """A point is off the front as soon as one of its size or smaller is as accurate."""
    small, worse, tie, large = (candidate(*pair) for pair in [(1, 0.5), (2, 0.4), (3, 0.5), (4, 0.9)])
    assert pareto_front([large, tie, worse, small], lambda cost: cost.macs) == [small, large]


def test_of_equal_accuracies_the_smaller_network_ranks_higher():
    """On an easy task most subnets tie; the device pays for every MAC."""
    assert candidate(1, 0.5).rank > candidate(2, 0.5).rank


def test_the_table_marks_the_front():
    """The figure and the table are drawn from the same list."""
    first, second = candidate(2, 0.25), candidate(1, 0.5)
    lines = candidates_csv([first, second], [second]).splitlines()
    assert lines[0] == "index,accuracy,macs,parameters,peak_sram_predicted,flash_predicted,front"
    assert lines[1:] == ["0,0.25,2,2,2,2,0", "1,0.5,1,1,1,1,1"]


def test_what_the_tables_rule_out_the_planner_is_not_asked():
    """On a small board almost nothing fits, and the planner is ten thousand times slower."""
    limits = Limits(sram=25 * 3, flash=200)
    asked = []

    def cost(space: SearchSpace, arch: ArchConfig) -> Cost:
        asked.append(arch)
        return cost_of(space, arch)

    search = replace(evolution(limits), cost=cost, may_fit=lambda arch: limits.fit(cost_of(SPACE, arch)))
    search.run(SETTINGS)
    assert all(limits.fit(cost_of(SPACE, arch)) for arch in asked)
    assert asked


def test_the_tables_never_rule_out_what_fits():
    """A bound above the truth would hide the best networks for ever."""
    tables, rng = CostTables(SPACE), np.random.default_rng(0)
    for arch in (SPACE.random(rng) for _ in range(50)):
        cost = subnet_cost(SPACE, arch)
        exactly = Limits(cost.peak_sram, cost.flash, cost.macs)
        assert tables.may_fit(arch, exactly)
        assert not tables.may_fit(arch, replace(exactly, macs=cost.macs - 1))
        assert not tables.may_fit(arch, replace(exactly, flash=cost.flash - 1))


def test_limits_on_time_are_hard_too():
    """A network of unknown speed meets no deadline."""
    cost = Cost(macs=10, parameters=1, peak_sram=1, flash=1)
    assert Limits(1, 1, macs=10).fit(cost)
    assert not Limits(1, 1, macs=9).fit(cost)
    assert not Limits(1, 1, instructions=5).fit(cost)
    assert Limits(1, 1, instructions=5).fit(replace(cost, instructions=5))


def test_a_predictor_finds_what_it_did_not_measure():
    """It must rank subnets it has not seen, and its winner must be measured before it is believed."""
    search_settings = replace(SETTINGS, predictor_samples=60)
    run = evolution()
    best, known = search(run, search_settings, similarity)
    assert known["predictor_rank_correlation"] > 0.4
    assert known["subnets_predicted"] > len(run.evaluated)
    assert len(run.evaluated) <= 60 + SETTINGS.parents
    assert best.accuracy == similarity(best.arch)
    luck = max(list(run.evaluated.values())[:60], key=lambda c: c.rank)
    assert best.accuracy > luck.accuracy


def test_a_predictor_of_noise_says_so():
    """Where all subnets are alike nothing can be ranked; the user must see that."""
    rng = np.random.default_rng(0)
    archs = [SPACE.random(rng) for _ in range(60)]
    predictor = fit_predictor(SPACE, archs, rng.random(60).tolist())
    assert abs(predictor.rank_correlation) < 0.35
    assert fit_predictor(SPACE, archs, [0.5] * 60).rank_correlation == 0

import json

from hypothesis import given
from hypothesis import strategies as st
from numpy.random import Generator
from subnets import SPACE, archs, generators

from triptych.tiny.arch import ArchConfig


@given(archs(SPACE), archs(SPACE), generators(), st.floats(0, 1))
def test_evolution_never_leaves_the_space(one: ArchConfig, two: ArchConfig, rng: Generator, p: float):
    """A child outside the space would read weights that do not exist."""
    SPACE.check(SPACE.random(rng))
    SPACE.check(SPACE.mutate(one, rng, p))
    SPACE.check(SPACE.crossover(one, two, rng))


@given(archs(SPACE), archs(SPACE), generators())
def test_every_gene_of_a_child_is_a_parents(one: ArchConfig, two: ArchConfig, rng: Generator):
    """Crossover that invents genes is mutation under another name."""
    child = SPACE.crossover(one, two, rng)
    for blocks, a, b in zip(child.stages, one.stages, two.stages, strict=True):
        assert len(blocks) in (len(a), len(b))
        for i, block in enumerate(blocks):
            assert block in [parent[i] for parent in (a, b) if i < len(parent)]


@given(archs(SPACE), generators())
def test_mutation_with_probability_zero_changes_nothing(arch: ArchConfig, rng: Generator):
    """The probability is per choice; at zero there is nothing left to change."""
    assert SPACE.mutate(arch, rng, 0.0) == arch


@given(archs(SPACE))
def test_an_architecture_survives_its_file(arch: ArchConfig):
    """arch.json is the only thing that the search hands on."""
    assert ArchConfig.from_json(json.loads(json.dumps(arch.to_json()))) == arch

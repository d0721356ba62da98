"""The arena planner: nothing else keeps the tensors of the generated C apart."""

from itertools import combinations

from hypothesis import given, settings
from hypothesis import strategies as st
from networks import graphs

from triptych.graph.memory import Lifetime, in_place, lifetimes, lower_bound, peak_of, plan, plan_arena
from triptych.graph.ops import Graph, inputs_of


@st.composite
def spans(draw) -> list[Lifetime]:
    """Up to 12 unrelated lifetimes, and some that take over the bytes of an earlier one."""
    found = []
    for index in range(draw(st.integers(0, 12))):
        first = draw(st.integers(0, 10))
        last = draw(st.integers(first, 10))
        alias = draw(st.sampled_from([None, None, *(span.name for span in found)]))
        found.append(Lifetime(f"t{index}", draw(st.integers(1, 100)), first, last, alias))
    return found


def root(span: Lifetime, all_spans: list[Lifetime]) -> str:
    while span.alias:
        span = next(other for other in all_spans if other.name == span.alias)
    return span.name


@given(spans())
def test_lifetimes_that_meet_never_share_bytes_unless_aliased(found: list[Lifetime]):
    """The generated C has no other protection against one tensor overwriting another."""
    at = plan_arena(found)
    for a, b in combinations(found, 2):
        if a.meets(b) and root(a, found) != root(b, found):
            assert at[a.name] + a.size <= at[b.name] or at[b.name] + b.size <= at[a.name]


@given(spans())
def test_aliases_share_an_offset_and_no_plan_beats_the_bound(found: list[Lifetime]):
    """A peak below the bytes alive at once would mean that the accounting is wrong."""
    at = plan_arena(found)
    assert all(at[span.name] == at[span.alias] for span in found if span.alias)
    assert peak_of(found, at) >= lower_bound(found)


@settings(max_examples=60)
@given(graphs())
def test_whole_networks_read_only_values_that_are_still_there(graph: Graph):
    """Replays the network on a map of who owns each byte: the definition of a correct plan."""
    chosen = plan(graph)
    owner: list[str | None] = [None] * chosen.peak

    def claim(name: str, start: int, size: int) -> None:
        owner[start : start + size] = [name] * size

    claim(graph.input, chosen.tensors[graph.input], graph[graph.input].size)
    for op in graph.ops:
        for name in inputs_of(op):
            start = chosen.tensors[name]
            assert owner[start : start + graph[name].size] == [name] * graph[name].size
        before = list(owner)
        if op.output in chosen.scratch:
            size = next(s.size for s in chosen.lifetimes if s.name == f"scratch of {op.output}")
            claim("scratch", chosen.scratch[op.output], size)
        scratched = [old for old, new in zip(before, owner, strict=True) if new == "scratch"]
        assert not set(scratched) & set(inputs_of(op))
        start, size = chosen.tensors[op.output], graph[op.output].size
        overwritten = set(owner[start : start + size]) & {*inputs_of(op), "scratch"}
        assert overwritten <= (set(inputs_of(op)) if in_place(op) else set())
        claim(op.output, start, size)
        owner = [None if name == "scratch" else name for name in owner]
    start = chosen.tensors[graph.output]
    assert owner[start : start + graph[graph.output].size] == [graph.output] * graph[graph.output].size


@settings(max_examples=60)
@given(graphs())
def test_plan_is_at_least_the_bound_and_deterministic(graph: Graph):
    """The search and the generator plan the same network in different processes."""
    assert plan(graph) == plan(graph)
    assert plan(graph).peak >= plan(graph).lower_bound == lower_bound(lifetimes(graph))

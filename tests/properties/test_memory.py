"""The arena planner: nothing else keeps the tensors of the generated C apart."""

from itertools import combinations, count

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import graphs

from triptych.graph.arena import plan_arena
from triptych.graph.lifetime import Lifetime, Overlap, lower_bound, peak_of
from triptych.graph.memory import in_place, lifetimes, plan
from triptych.graph.ops import AveragePool2D, Conv2D, Graph, MaxPool2D, Op, Pool, inputs_of, paddings_of
from triptych.graph.overlap import PIXELS


@st.composite
def spans(draw, most: int = 12, largest: int = 100) -> list[Lifetime]:
    """Lifetimes; some take over the bytes of an earlier one, or may run into them."""
    found: list[Lifetime] = []
    for index in range(draw(st.integers(0, most))):
        first, size = draw(st.integers(0, 10)), draw(st.integers(1, largest))
        last = draw(st.integers(first, 10))
        alias = draw(st.sampled_from([None, None, *(span.name for span in found)]))
        dying = [span for span in found if span.last == first and alias is None]
        overlap = None
        if dying and not any(span.overlap and span.first == first for span in found):
            over = draw(st.sampled_from(dying))
            below, above = draw(st.integers(1, size)), draw(st.integers(1, over.size))
            overlap = Overlap(over.name, below, above)
        found.append(Lifetime(f"t{index}", size, first, last, alias, overlap))
    return found


def root(span: Lifetime, all_spans: list[Lifetime]) -> str:
    while span.alias:
        span = next(other for other in all_spans if other.name == span.alias)
    return span.name


@settings(deadline=None)
@given(spans())
def test_lifetimes_that_meet_never_share_bytes_unless_declared(found: list[Lifetime]):
    """The generated C has no other protection against one tensor overwriting another."""
    at = plan_arena(found)
    assert min(at.values(), default=0) >= 0
    for a, b in combinations(found, 2):
        if not a.meets(b) or root(a, found) == root(b, found):
            continue
        if b.overlap and b.overlap.over == a.name:
            assert at[b.name] <= at[a.name] - b.overlap.below or at[b.name] >= at[a.name] + b.overlap.above
        else:
            assert at[a.name] + a.size <= at[b.name] or at[b.name] + b.size <= at[a.name]


@settings(deadline=None)
@given(spans())
def test_aliases_share_an_offset_and_no_plan_beats_the_bound(found: list[Lifetime]):
    """A peak below the bytes alive at once would mean that the accounting is wrong."""
    at = plan_arena(found)
    assert all(at[span.name] == at[span.alias] for span in found if span.alias)
    assert peak_of(found, at) >= lower_bound(found)


def fits(found: list[Lifetime], peak: int, at: dict[str, int]) -> bool:
    """Whether the lifetimes without an offset in `at` can be placed below `peak`: tries every offset."""
    waiting = [span for span in found if root(span, found) not in at]
    if not waiting:
        return True
    name = root(waiting[0], found)
    mine = [span for span in found if root(span, found) == name]
    others = [span for span in found if root(span, found) in at]
    for offset in range(peak - max(span.size for span in mine) + 1):
        lies = all(may_lie(span, offset, other, at[root(other, found)]) for span in mine for other in others)
        if lies and fits(found, peak, at | {name: offset}):
            return True
    return False


def may_lie(a: Lifetime, at_a: int, b: Lifetime, at_b: int) -> bool:
    """The rule of `Lifetime`, written down once more."""
    if not a.meets(b) or at_a + a.size <= at_b or at_b + b.size <= at_a:
        return True
    for upper, lower, distance in ((a, b, at_a - at_b), (b, a, at_b - at_a)):
        overlap = upper.overlap
        if overlap and overlap.over == lower.name:
            return distance >= overlap.above or -distance >= overlap.below
    return False


@settings(max_examples=150, deadline=None)
@given(spans(most=6, largest=6).filter(bool))
def test_optimum_lies_between_the_bound_and_the_plan(found: list[Lifetime]):
    """'Optimal' is claimed where plan and bound meet: only if the bound is one, says exhaustive search."""
    optimum = next(peak for peak in count(1) if fits(found, peak, {}))
    assert lower_bound(found) <= optimum <= peak_of(found, plan_arena(found))


class Replay:
    """A network run on a map of who owns each byte of the arena: the definition of a correct plan."""

    def __init__(self, graph: Graph) -> None:
        self.graph, self.plan = graph, plan(graph)
        self.owner = np.full(self.plan.peak, "", object)
        self.bytes_of(graph.input)[:] = graph.input

    def bytes_of(self, name: str) -> np.ndarray:
        start = self.plan.tensors[name]
        return self.owner[start : start + self.graph[name].size]

    def run(self, op: Op, group: int) -> None:
        """`group` pixels are read while they are written, where output and input may overlap."""
        for name in inputs_of(op):
            assert set(self.bytes_of(name)) == {name}
        if op.output in self.plan.scratch:
            start = self.plan.scratch[op.output]
            size = next(s.size for s in self.plan.lifetimes if s.name == f"scratch of {op.output}")
            self.owner[start : start + size] = "scratch"
            assert all(set(self.bytes_of(name)) == {name} for name in inputs_of(op))
        if isinstance(op, Conv2D | AveragePool2D | MaxPool2D):
            self.walk(op, group)
        else:
            self.write_at_once(op)
        assert set(self.bytes_of(op.output)) == {op.output}
        self.owner[self.owner == "scratch"] = ""

    def write_at_once(self, op: Op) -> None:
        taken = set(self.bytes_of(op.output)) & {"scratch", *inputs_of(op)}
        places = {name: self.plan.tensors[name] for name in taken}
        assert not taken or (in_place(op) and set(places.values()) == {self.plan.tensors[op.output]})
        self.bytes_of(op.output)[:] = op.output

    def walk(self, op: Conv2D | Pool, group: int) -> None:
        source, output = (self.bytes_of(name) for name in (op.input, op.output))
        shape = self.graph[op.input].shape[1:]
        pixels = windows(op, shape, self.graph[op.output].shape[1:])
        order = range(len(pixels))[:: -1 if op.output in self.plan.backwards else 1]
        for begin in range(0, len(pixels), group):
            some = order[begin : begin + group]
            for pixel in some:
                output.reshape(len(pixels), -1)[pixel] = op.output
            for pixel in some:
                assert set(source.reshape(shape)[pixels[pixel]].ravel()) <= {op.input}


def windows(op: Conv2D | Pool, source: tuple[int, ...], output: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """For each output pixel the rows and columns of the input that it reads."""
    kernel = op.weight.shape[1:3] if isinstance(op, Conv2D) else op.window
    before = [pair[0] for pair in paddings_of(source[:2], kernel, op.stride, op.padding)]

    def span(at: int, axis: int) -> slice:
        start = at * op.stride[axis] - before[axis]
        return slice(max(start, 0), max(min(start + kernel[axis], source[axis]), 0))

    return [(span(y, 0), span(x, 1)) for y, x in np.ndindex(*output[:2])]


@settings(max_examples=100, deadline=None)
@given(graphs(), st.integers(1, PIXELS))
def test_whole_networks_read_only_values_that_are_still_there(graph: Graph, group: int):
    """Written down from the kernels' contract, byte by byte; shares no distance with the planner."""
    replay = Replay(graph)
    for op in graph.ops:
        replay.run(op, group)
    assert set(replay.bytes_of(graph.output)) == {graph.output}


@settings(max_examples=60)
@given(graphs())
def test_plan_is_at_least_the_bound_and_deterministic(graph: Graph):
    """The search and the generator plan the same network in different processes."""
    assert plan(graph) == plan(graph)
    assert plan(graph).peak >= plan(graph).lower_bound == lower_bound(lifetimes(graph))

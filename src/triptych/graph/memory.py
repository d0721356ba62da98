"""Where every activation lives: the one model of peak SRAM, for search and for code generation.

Memory is one arena of bytes. A lifetime is a rectangle: its bytes, over the
operators during which it holds a value. Two rectangles that meet in time must
not meet in space, unless one is declared to alias the other. Finding the lowest
arena is NP-hard (dynamic storage allocation); first-fit over a few orderings
reaches the lower bound on almost every network here, and the bound is exposed.

Sources: Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net
Inference" (2020), greedy by size and by breadth; in-place depthwise: MCUNet
(NeurIPS 2020), section 3.2.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from triptych.graph.ops import (
    Add,
    DepthwiseConv2D,
    Graph,
    Op,
    Requantize,
    Reshape,
    Softmax,
    Tensor,
    inputs_of,
)


@dataclass(frozen=True)
class Lifetime:
    """`size` bytes that hold a value during operators `first` to `last`, both included.

    `alias` names an earlier lifetime whose offset this one takes over.
    """

    name: str
    size: int
    first: int
    last: int
    alias: str | None = None

    def meets(self, other: "Lifetime") -> bool:
        """Whether both hold a value during some operator."""
        return self.first <= other.last and other.first <= self.last


@dataclass(frozen=True)
class Plan:
    """Offsets in bytes from the start of the arena."""

    tensors: dict[str, int]
    scratch: dict[str, int]  # by the name of the operator's output
    lifetimes: tuple[Lifetime, ...]
    peak: int  # bytes of the arena
    lower_bound: int  # no plan of these lifetimes is lower

    def offset(self, span: Lifetime) -> int:
        """Where `span`, one of `lifetimes`, begins."""
        scratch = {_scratch_of(output): at for output, at in self.scratch.items()}
        return (self.tensors | scratch)[span.name]


def plan(graph: Graph) -> Plan:
    """Place the activations and scratch of an int8 network; reads shapes alone."""
    spans = lifetimes(graph)
    at = plan_arena(spans)
    return Plan(
        tensors={name: at[name] for name in graph.tensors if name in at},
        scratch={op.output: at[scratch_name(op)] for op in graph.ops if scratch_name(op) in at},
        lifetimes=tuple(spans),
        peak=peak_of(spans, at),
        lower_bound=lower_bound(spans),
    )


def lifetimes(graph: Graph) -> list[Lifetime]:
    """Lifetimes of the activations, the graph's input first, then of the scratch.

    The input may be overwritten once it was read for the last time; the output
    stays until the end.
    """
    end = len(graph.ops) - 1
    last = {graph.input: 0} | {op.output: index for index, op in enumerate(graph.ops)}
    for index, op in enumerate(graph.ops):
        last |= dict.fromkeys(inputs_of(op), index)
    last[graph.output] = end
    spans = [Lifetime(graph.input, graph[graph.input].size, 0, last[graph.input])]
    for index, op in enumerate(graph.ops):
        dying = [name for name in inputs_of(op) if last[name] == index]
        alias = dying[0] if dying and in_place(op) else None
        spans.append(Lifetime(op.output, graph[op.output].size, index, last[op.output], alias))
    for index, op in enumerate(graph.ops):
        if size := scratch_size(op, graph[op.output]):
            spans.append(Lifetime(scratch_name(op), size, index, index))
    return spans


def in_place(op: Op) -> bool:
    """Whether the kernel of `op` may write its output over an input that dies there.

    Add, Requantize and Softmax read element i for the last time before they write it;
    Reshape moves nothing. Depthwise copies channel c to its scratch before it writes
    output (p, c) to address p*C + c, which belongs to channel c for every stride.
    """
    return isinstance(op, Add | DepthwiseConv2D | Requantize | Reshape | Softmax)


def scratch_size(op: Op, output: Tensor) -> int:
    """Bytes that the kernel of `op` needs besides tensors: one padded channel plane for depthwise."""
    if not isinstance(op, DepthwiseConv2D):
        return 0
    height, width = plane_of(op, output)
    return height * width


def plane_of(op: DepthwiseConv2D, output: Tensor) -> tuple[int, int]:
    """Height and width of the padded input plane that the windows of `op` cover."""
    _, kernel_height, kernel_width, _ = op.weight.shape
    _, height, width, _ = output.shape
    return (height - 1) * op.stride[0] + kernel_height, (width - 1) * op.stride[1] + kernel_width


def scratch_name(op: Op) -> str:
    """Name of the lifetime of the scratch of `op`."""
    return _scratch_of(op.output)


def _scratch_of(output: str) -> str:
    return f"scratch of {output}"


Group = list[Lifetime]  # one offset: a lifetime and those that alias it
Ordering = Callable[[Group], tuple[int, int]]  # first-fit places the smallest key first


def plan_arena(spans: Iterable[Lifetime], orderings: Sequence[Ordering] | None = None) -> dict[str, int]:
    """Offset of each lifetime: the lowest of the first-fit plans of `orderings` (all that are known)."""
    spans = list(spans)
    groups = _groups(spans)
    bound = lower_bound(spans)
    best: dict[str, int] = {}
    for order in orderings or ORDERINGS:
        at = _first_fit(sorted(groups, key=order))
        if not best or peak_of(spans, at) < peak_of(spans, best):
            best = at
        if peak_of(spans, best) == bound:
            break
    return best


def peak_of(spans: Iterable[Lifetime], at: dict[str, int]) -> int:
    """Bytes of the arena under offsets `at`."""
    return max((at[span.name] + span.size for span in spans), default=0)


def lower_bound(spans: Iterable[Lifetime]) -> int:
    """The most bytes alive during one operator; aliases count once."""
    alive: Counter[int] = Counter()
    for group in _groups(spans):
        first, last = min(span.first for span in group), max(span.last for span in group)
        for step in range(first, last + 1):
            alive[step] += _alive(group, step)
    return max(alive.values(), default=0)


def _alive(group: Group, step: int) -> int:
    return max((span.size for span in group if span.first <= step <= span.last), default=0)


def _groups(spans: Iterable[Lifetime]) -> list[Group]:
    home: dict[str, Group] = {}
    groups: list[Group] = []
    for span in spans:
        if span.alias is None:
            home[span.name] = [span]
            groups.append(home[span.name])
        else:
            home[span.name] = home[span.alias]
            home[span.name].append(span)
    return groups


def _largest(group: Group) -> int:
    return max(span.size for span in group)


def by_size(group: Group) -> tuple[int, int]:
    """The largest first."""
    return -_largest(group), group[0].first


def _by_area(group: Group) -> tuple[int, int]:
    return -sum(span.size * (span.last - span.first + 1) for span in group), group[0].first


def _by_duration(group: Group) -> tuple[int, int]:
    return group[0].first - max(span.last for span in group), -_largest(group)


def _by_start(group: Group) -> tuple[int, int]:
    return group[0].first, -_largest(group)


ORDERINGS: tuple[Ordering, ...] = (by_size, _by_area, _by_duration, _by_start)


def _first_fit(groups: Iterable[Group]) -> dict[str, int]:
    at: dict[str, int] = {}
    placed: list[Lifetime] = []
    for group in groups:
        offset = _lowest(group, placed, at)
        at |= {span.name: offset for span in group}
        placed += group
    return at


def _lowest(group: Group, placed: list[Lifetime], at: dict[str, int]) -> int:
    """The lowest offset at which no span of `group` meets a placed one in time and space.

    Each pair that meets in time forbids an interval of offsets; the answer is 0 or
    the end of a forbidden interval.
    """
    forbidden = sorted(
        (at[other.name] - span.size + 1, at[other.name] + other.size)
        for span in group
        for other in placed
        if span.meets(other)
    )
    offset = 0
    for start, end in forbidden:
        if start > offset:
            break
        offset = max(offset, end)
    return offset

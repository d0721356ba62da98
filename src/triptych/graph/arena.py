"""Lifetimes into one arena of bytes: placement, and the bound that no placement beats.

A lifetime is a rectangle: its bytes, over the operators during which it holds a
value. Two rectangles that meet in time must not meet in space, unless one aliases
the other or may overlap it from one side. Finding the lowest arena is NP-hard
(dynamic storage allocation): first-fit over a few orderings, then over orderings
repaired at whatever set the peak, until the bound is met or the attempts are used up.

Source: Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net
Inference" (2020), greedy by size and by breadth.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

REPAIRS = 64  # orderings tried after the known ones


@dataclass(frozen=True)
class Overlap:
    """May meet the lifetime `over` in time and space, if it begins far enough from where that begins.

    At least `below` bytes below it, or at least `above` bytes above it.
    """

    over: str
    below: int
    above: int


@dataclass(frozen=True)
class Lifetime:
    """`size` bytes that hold a value during operators `first` to `last`, both included.

    `alias` names an earlier lifetime whose offset this one takes over; `overlap` an
    earlier one, which ends at `first`, that it may partly overwrite. At most one
    overlap begins during an operator.
    """

    name: str
    size: int
    first: int
    last: int
    alias: str | None = None
    overlap: Overlap | None = None

    def meets(self, other: "Lifetime") -> bool:
        """Whether both hold a value during some operator."""
        return self.first <= other.last and other.first <= self.last


Group = list[Lifetime]  # one offset: a lifetime and those that alias it
Ordering = Callable[[Group], tuple[int, int]]  # first-fit places the smallest key first


def plan_arena(spans: Iterable[Lifetime], orderings: Sequence[Ordering] | None = None) -> dict[str, int]:
    """Offset of each lifetime: the lowest first-fit plan of `orderings`, else of the known and repairs."""
    spans = list(spans)
    groups = _groups(spans)
    bound = lower_bound(spans)
    best: dict[str, int] = {}
    order: list[Group] = []
    for key in orderings or ORDERINGS:
        candidate = sorted(groups, key=key)
        at = _first_fit(candidate)
        if not best or peak_of(spans, at) < peak_of(spans, best):
            best, order = at, candidate
        if peak_of(spans, best) == bound:
            break
    return best if orderings else _repair(spans, order, best, bound)


def _repair(spans: list[Lifetime], order: list[Group], best: dict[str, int], bound: int) -> dict[str, int]:
    """Place what reached the peak earlier, again and again, as long as something new comes up."""
    at, seen = best, {tuple(group[0].name for group in order)}
    for _ in range(REPAIRS):
        if peak_of(spans, best) == bound:
            break
        peak = peak_of(spans, at)
        culprit = next(i for i, group in enumerate(order) if peak_of(group, at) == peak)
        moves = (
            [*order[:to], order[culprit], *order[to:culprit], *order[culprit + 1 :]] for to in range(culprit)
        )
        fresh = next((move for move in moves if tuple(group[0].name for group in move) not in seen), None)
        if fresh is None:
            break
        order = fresh
        seen.add(tuple(group[0].name for group in order))
        at = _first_fit(order)
        if peak_of(spans, at) < peak_of(spans, best):
            best = at
    return best


def peak_of(spans: Iterable[Lifetime], at: dict[str, int]) -> int:
    """Bytes of the arena under offsets `at`."""
    return max((at[span.name] + span.size for span in spans), default=0)


def lower_bound(spans: Iterable[Lifetime]) -> int:
    """The most bytes that must be apart during one operator: no arena is smaller.

    Aliases count once, and a pair that may overlap as the shorter of its two ways
    to lie (`_extent`).
    """
    groups = _groups(spans)
    apart: Counter[int] = Counter()
    for group in groups:
        first, last = min(span.first for span in group), max(span.last for span in group)
        for step in range(first, last + 1):
            apart[step] += _alive(group, step)
    home = {span.name: group for group in groups for span in group}
    for span, overlap in ((span, span.overlap) for group in groups for span in group):
        if overlap:
            size, other = (_alive(home[name], span.first) for name in (span.name, overlap.over))
            apart[span.first] += _extent(overlap, size, other) - size - other
    return max(apart.values(), default=0)


def _extent(overlap: Overlap, size: int, other: int) -> int:
    """Fewest bytes that a lifetime of `size` and the one of `other` bytes that it overlaps take together."""
    return min(max(size, overlap.below + other), max(other, overlap.above + size), size + other)


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
        (at[other.name] - below + 1, at[other.name] + above)
        for span in group
        for other in placed
        if span.meets(other)
        for below, above in [_distances(span, other)]
    )
    offset = 0
    for start, end in forbidden:
        if start > offset:
            break
        offset = max(offset, end)
    return offset


def _distances(span: Lifetime, other: Lifetime) -> tuple[int, int]:
    """Bytes by which `span`, alive together with `other`, must begin below or above where that begins."""
    if span.overlap and span.overlap.over == other.name:
        return span.overlap.below, span.overlap.above
    if other.overlap and other.overlap.over == span.name:
        return other.overlap.above, other.overlap.below
    return span.size, other.size

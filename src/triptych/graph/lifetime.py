"""Lifetimes of values in one arena of bytes, and the bound that no placement beats.

A lifetime is a rectangle: its bytes, over the operators during which it holds a
value. Two rectangles that meet in time must not meet in space, unless one aliases
the other or may overlap it from one side.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass


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


def groups_of(spans: Iterable[Lifetime]) -> list[Group]:
    """The lifetimes by offset, in order."""
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


def distances_between(span: Lifetime, other: Lifetime) -> tuple[int, int]:
    """Bytes by which `span`, alive together with `other`, must begin below or above where that begins."""
    if span.overlap and span.overlap.over == other.name:
        return span.overlap.below, span.overlap.above
    if other.overlap and other.overlap.over == span.name:
        return other.overlap.above, other.overlap.below
    return span.size, other.size


def peak_of(spans: Iterable[Lifetime], at: dict[str, int]) -> int:
    """Bytes of the arena under offsets `at`."""
    return max((at[span.name] + span.size for span in spans), default=0)


def lower_bound(spans: Iterable[Lifetime]) -> int:
    """The most bytes that must be apart during one operator: no arena is smaller.

    Aliases count once, and a pair that may overlap as the shorter of its two ways
    to lie (`_extent`).
    """
    groups = groups_of(spans)
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

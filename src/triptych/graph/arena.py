"""The lowest arena for lifetimes: first-fit over a few orderings, then a search below them.

Finding the lowest arena is NP-hard (dynamic storage allocation). The search places
lifetimes in the order of the network, at a few offsets each, and steps back where
nothing is left. It stops at the lower bound, where the plan is optimal.

Source: Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net
Inference" (2020), greedy by size and by breadth.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence

from triptych.graph.lifetime import Group, Lifetime, distances_between, groups_of, lower_bound, peak_of

STEPS = 300  # placements that the search tries under one limit
LIMITS = 3  # limits tried between the bound and the best first-fit

Ordering = Callable[[Group], tuple[int, int]]  # first-fit places the smallest key first


def plan_arena(spans: Iterable[Lifetime], orderings: Sequence[Ordering] | None = None) -> dict[str, int]:
    """Offset of each lifetime: the lowest first-fit plan of `orderings`, else the lowest that is found."""
    spans = list(spans)
    groups = groups_of(spans)
    bound = lower_bound(spans)
    best: dict[str, int] = {}
    for order in orderings or ORDERINGS:
        at = _first_fit(sorted(groups, key=order))
        if not best or peak_of(spans, at) < peak_of(spans, best):
            best = at
        if peak_of(spans, best) == bound:
            return best
    return best if orderings else _lower(spans, best, bound)


def _lower(spans: list[Lifetime], best: dict[str, int], bound: int) -> dict[str, int]:
    """A plan below `best`, at the bound if one is found there, else `best` itself."""
    excess = peak_of(spans, best) - bound
    for part in range(LIMITS):
        found = Search(spans, bound + excess * part // LIMITS).run()
        if found is not None:
            return found
    return best


class Search:
    """Depth-first: each group of lifetimes at offsets that touch others, or leave room for later ones."""

    def __init__(self, spans: Iterable[Lifetime], limit: int) -> None:
        self.limit, self.steps = limit, STEPS
        self.groups = sorted(groups_of(spans), key=lambda group: group[0].first)
        n = len(self.groups)
        self.before = [self._apart(i, range(i)) for i in range(n)]
        self.after = [
            {_largest(self.groups[j]) for j, _ in self._apart(i, range(i + 1, n))} for i in range(n)
        ]
        ends = [max(j for j in range(n) if j == i or self._meet(i, j)) for i in range(n)]
        self.relevant = [[j for j in range(i) if ends[j] >= i] for i in range(n)]  # to group i or a later one
        self.at = [0] * n
        self.failed: set[tuple[int, ...]] = set()

    def run(self) -> dict[str, int] | None:
        """Offsets within the limit, or None where none was found."""
        if not self._place(0):
            return None
        return {span.name: at for group, at in zip(self.groups, self.at, strict=True) for span in group}

    def _place(self, i: int) -> bool:
        if i == len(self.groups):
            return True
        state = (i, *(self.at[j] for j in self.relevant[i]))
        if state in self.failed:
            return False
        for offset in self._offsets(i):
            self.steps -= 1
            self.at[i] = offset
            if self.steps < 0 or self._place(i + 1):
                return self.steps >= 0
        self.failed.add(state)
        return False

    def _offsets(self, i: int) -> Iterator[int]:
        """Where group i may begin, from below."""
        top = self.limit - _largest(self.groups[i])
        touching = {self.at[j] + step for j, (below, above) in self.before[i] for step in (-below, above)}
        with_room = {offset for size in self.after[i] for offset in (size, top - size)}
        for offset in sorted({0, top} | touching | with_room):
            distances = ((offset - self.at[j], pair) for j, pair in self.before[i])
            if 0 <= offset <= top and all(d <= -below or d >= above for d, (below, above) in distances):
                yield offset

    def _apart(self, i: int, others: Iterable[int]) -> list[tuple[int, tuple[int, int]]]:
        """Distances that group i must keep from each of the `others` that it meets."""
        return [
            (j, distances_between(a, b))
            for j in others
            for a in self.groups[i]
            for b in self.groups[j]
            if a.meets(b)
        ]

    def _meet(self, i: int, j: int) -> bool:
        return any(a.meets(b) for a in self.groups[i] for b in self.groups[j])


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
        for below, above in [distances_between(span, other)]
    )
    offset = 0
    for start, end in forbidden:
        if start > offset:
            break
        offset = max(offset, end)
    return offset

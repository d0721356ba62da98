"""The privacy statement as a table for a terminal."""

from collections.abc import Iterator

from rich.table import Table

from triptych.privacy.certificate import CAVEAT, mechanism
from triptych.private.statement import PUBLISHED, PUBLISHED_DELTA, Statement

Row = tuple[str, str]


def _mechanism(statement: Statement) -> Iterator[Row]:
    terms = statement.terms
    for name, value in mechanism(terms).items():
        yield name, f"{value:g}" if isinstance(value, float) else str(value)
    yield "steps", str(terms.event.steps)
    yield "releases", str(terms.event.release.count)
    yield "delta", f"{terms.delta:g}"


def _epsilons(statement: Statement) -> Iterator[Row]:
    chosen = statement.terms.accountant
    for name, value in statement.epsilons.items():
        yield f"epsilon by {name}", f"{value:.4g}{'  (reported)' if name == chosen else ''}"
    fits = statement.epsilons[chosen] <= statement.budget
    yield "epsilon_budget", f"{statement.budget:g}  ({'kept' if fits else 'exceeded: training is refused'})"


def _calibration(statement: Statement) -> Iterator[Row]:
    for row in statement.calibration:
        noise, steps = f"{row.noise_multiplier:.4g}", f"{row.steps}{' or more' if row.more else ''}"
        yield f"for epsilon = {row.target:g}", f"noise_multiplier = {noise}  or  steps = {steps}"


def _published(statement: Statement) -> Iterator[Row]:
    event = PUBLISHED
    yield (
        "published setting",
        f"sigma {event.noise_multiplier}, K {event.discriminators}, B {event.rows}, T {event.steps}, "
        f"delta {PUBLISHED_DELTA:g}",
    )
    yield "as_published", f"{statement.as_published:.4g}  (each row amplified alone: not an epsilon)"
    yield "shared_draw", f"{statement.shared_draw:.4g}  (rows composed, then amplified: its epsilon)"


def statement_table(statement: Statement) -> Table:
    """Mechanism, epsilons, calibration and the published setting, one section each."""
    table = Table("what", "value", title="Privacy statement: nothing was trained")
    for section in (_mechanism, _epsilons, _calibration, _published):
        for row in section(statement):
            table.add_row(*row)
        table.add_section()
    table.add_row("not covered", CAVEAT)
    return table

"""What a released generator promises, as one JSON file that can be checked.

The promise covers the generator and whatever is computed from it. It does not
cover numbers measured on the private data, such as scores in reports.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from triptych.data.files import read_json, sha256
from triptych.errors import PrivacyError
from triptych.privacy.accounting import epsilon
from triptych.privacy.ledger import read_ledger
from triptych.privacy.mechanism import EncodedEmbedding, Event, SampledGradients, describe

VERSION = 1
CAVEAT = (
    "One certificate covers one generator: publishing several from the same data adds up. "
    "Noise is added in float64 and rounded to float32; the theorem assumes real numbers. "
    "Scores measured on private data are not covered by epsilon."
)


@dataclass(frozen=True)
class Terms:
    """What the config promises: the planned event and how it is accounted."""

    event: Event
    delta: float
    accountant: str
    clip_norm: float  # of what one record, or one row, contributes (the paper's C)
    sensitivity: float  # L2, of one release
    rng: str  # "secure" or "seeded"
    discriminators: int | None = None  # where there is an ensemble
    rows: int | None = None  # generated images in a step


def mechanism(terms: Terms) -> dict[str, Any]:
    """The part of a certificate that is fixed before the first step: the ledger's header."""
    fixed = describe(terms.event)
    del fixed["steps"]
    names = ("discriminators", "rows", "clip_norm", "sensitivity", "rng")
    chosen = {name: getattr(terms, name) for name in names}
    return {**fixed, **{name: value for name, value in chosen.items() if value is not None}}


def issue(terms: Terms, *, ledger: Path, generator: Path, steps_taken: int) -> dict[str, Any]:
    """Certify `generator` by what the ledger on the disk says was released.

    `steps_taken` is the generator's own count, which repeated steps leave
    behind. Raises PrivacyError where the ledger is broken, belongs to another
    mechanism, or records fewer steps than the generator has taken.
    """
    entries = read_ledger(ledger)
    if not entries or entries[0].get("mechanism") != mechanism(terms):
        raise PrivacyError(f"{ledger} is not the ledger of this configuration; train anew")
    paid = len(entries) - 1
    if paid < steps_taken:
        raise PrivacyError(
            f"{ledger} records {paid} steps, the generator has taken {steps_taken}: epsilon would be "
            "understated; delete the checkpoints and train anew"
        )
    event = replace(terms.event, steps=paid)
    literature: dict[str, float] = {}
    if isinstance(event, SampledGradients | EncodedEmbedding):
        from triptych.privacy.add_remove import add_or_remove_epsilon  # Opacus takes seconds to import

        literature = {"epsilon_add_or_remove": add_or_remove_epsilon(event, terms.delta)}
    bounds = {name: epsilon(event, terms.delta, accountant=name) for name in event.accountants}
    known = (terms.accountant, *(name for name, bound in bounds.items() if math.isfinite(bound)))
    costs = {name: bound for name, bound in bounds.items() if name in known}
    return {
        "version": VERSION,
        **mechanism(terms),
        "steps": paid,
        "steps_taken": steps_taken,
        "releases": sum(part.count for part in event.release.parts),
        "delta": terms.delta,
        "epsilon": costs[terms.accountant],
        "epsilon_accountant": terms.accountant,
        "epsilon_by_accountant": costs,
        **literature,
        "ledger_digest": entries[-1]["digest"],
        "generator_sha256": sha256(generator),
        "caveat": CAVEAT,
    }


def read_certificate(path: Path, *, generator: Path) -> dict[str, Any]:
    """Read a certificate. Raises PrivacyError where it speaks of another generator."""
    certificate = read_json(path)
    if certificate.get("generator_sha256") != sha256(generator):
        raise PrivacyError(f"{path} does not certify {generator}; run private_train again")
    return certificate

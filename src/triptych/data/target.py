"""The two domains of the chain: a labelled source of samples, and a target without labels.

<folder>/source/train.safetensors, test.safetensors   the prepared-data layout, in random order
<folder>/target/unlabelled.safetensors                images alone: what self-training sees
<folder>/target/test.safetensors                      images and labels, for evaluation alone
<folder>/{source,target}/card.json
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from safetensors.numpy import save

from triptych.data.files import write_atomic
from triptych.data.prepared import Split, write_prepared
from triptych.data.shift import ColourLaw, paint
from triptych.errors import DataError


@dataclass(frozen=True)
class Domains:
    """What the chain learns from, and what it is judged on."""

    source: Mapping[str, Split]  # train, test
    unlabelled: UInt8[np.ndarray, "n channels height width"]
    target_test: Split


def coloured(
    samples: Split, held_out: Split, law: ColourLaw, *, source_test: int, unlabelled: int
) -> Domains:
    """Samples in colours that follow the label, held-out images in colours that do not.

    source_test  how many samples are the source's test split; the others are trained on
    unlabelled   how many held-out images lose their labels; the others are the target's test split

    Raises DataError where either leaves nothing.
    """
    _require(source_test, len(samples), "hinge.source_test_size")
    _require(unlabelled, len(held_out), "hinge.unlabelled_size")
    order = np.random.default_rng(law.seed).permutation(len(samples))  # samples come in label order
    parts = {"train": samples.take(order[source_test:]), "test": samples.take(order[:source_test])}
    source = {
        name: Split(paint(part.images[:, 0], law.source(f"source_{name}", part.labels)), part.labels)
        for name, part in parts.items()
    }
    rest = held_out.take(slice(unlabelled, None))
    target_test = Split(paint(rest.images[:, 0], law.target("target_test", len(rest))), rest.labels)
    seen = paint(held_out.images[:unlabelled, 0], law.target("target_train", unlabelled))
    return Domains(source, seen, target_test)


def write_domains(
    folder: Path, domains: Domains, *, classes: int, cards: tuple[Mapping[str, Any], Mapping[str, Any]]
) -> None:
    """Write both domains; `cards` are those of source and target."""
    source, target = cards
    write_prepared(folder / "source", domains.source, classes=classes, card=source)
    write_atomic(folder / "target/unlabelled.safetensors", save({"images": domains.unlabelled}))
    card = {**target, "unlabelled_size": len(domains.unlabelled)}
    write_prepared(folder / "target", {"test": domains.target_test}, classes=classes, card=card)


def _require(taken: int, there: int, key: str) -> None:
    if taken >= there:
        raise DataError(f"{key}={taken} leaves nothing of {there} images; choose less")

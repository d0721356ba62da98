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


@dataclass(frozen=True)
class Sizes:
    """How a chain cuts up its samples and its target."""

    source_test: int  # samples that are the source's test split; the others are trained on
    unlabelled: int  # target images that lose their labels
    source: int | None = None  # samples used, at most

    def divide(self, samples: Split, *, seed: int) -> dict[str, Split]:
        """`train` and `test` of the source, in random order: samples come in label order.

        Raises DataError where nothing is left to train on.
        """
        order = np.random.default_rng(seed).permutation(len(samples))[: self.source]
        _require(self.source_test, len(order), "hinge.source_test_size")
        return {
            "train": samples.take(order[self.source_test :]),
            "test": samples.take(order[: self.source_test]),
        }


def coloured(samples: Split, held_out: Split, law: ColourLaw, sizes: Sizes) -> Domains:
    """Samples in colours that follow the label, held-out images in colours that do not.

    The held-out images that keep their labels are the target's test split. Raises
    DataError where either domain has nothing left.
    """
    parts = sizes.divide(samples, seed=law.seed)
    _require(sizes.unlabelled, len(held_out), "hinge.unlabelled_size")
    source = {
        name: Split(paint(part.images[:, 0], law.source(f"source_{name}", part.labels)), part.labels)
        for name, part in parts.items()
    }
    rest = held_out.take(slice(sizes.unlabelled, None))
    target_test = Split(paint(rest.images[:, 0], law.target("target_test", len(rest))), rest.labels)
    unlabelled = held_out.images[: sizes.unlabelled, 0]
    return Domains(source, paint(unlabelled, law.target("target_train", len(unlabelled))), target_test)


def elsewhere(samples: Split, target: Mapping[str, Split], sizes: Sizes, *, seed: int) -> Domains:
    """Samples as drawn, and another data set as the target: its `train` without labels, its `test`."""
    unlabelled = target["train"].images[: sizes.unlabelled]
    return Domains(sizes.divide(samples, seed=seed), unlabelled, target["test"])


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

"""Which source images the spurious feature misleads: known of the source where it was painted or stated."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Bool, Float32
from torch import Tensor

from triptych.data.prepared import Split
from triptych.data.shift import colour_bin
from triptych.errors import DataError


def groups(
    splits: Sequence[Split], colours: Sequence[Float32[np.ndarray, " n"] | None], classes: int
) -> Bool[Tensor, "r n"]:
    """Whether the colour points to another class than the label, of every repetition's images."""
    misled = []
    for split, colour in zip(splits, colours, strict=True):
        if colour is None:
            raise DataError(
                "robust.source.group_dro and last_layer need to know the spurious feature of the source, and "
                "this shift has none; set group_dro=0 and last_layer=false"
            )
        misled.append(colour_bin(colour, classes) != split.labels)
    return torch.from_numpy(np.stack(misled))

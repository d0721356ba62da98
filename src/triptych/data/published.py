"""The random draws of the released script, in its order, so that its one published run can be repeated.

The script (cynnjjs/spurious_feature_NeuRIPS at 5261b6c, PseudoLabel_MNIST.py)
seeds PyTorch with 42 and NumPy with 0, then draws: which source images follow
their label (NumPy, binomial), their colours, the colours of both target splits,
and the first weights of the network. Here seed s moves both seeds by s, so that
0 is the published run and the others are what it might as well have been.
Colours outside [0, 1] (the normal ones of two ways, 0.3%) are cut to it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float32, Int64
from torch import Tensor, nn


@dataclass(frozen=True)
class PublishedDraw:
    """The draws for so many images of the source (both splits) and of the target's splits."""

    source_size: int
    target_train_size: int
    target_test_size: int

    def source(
        self, split: str, labels: Int64[np.ndarray, " n"], ways: int, p: float, seed: int
    ) -> Float32[np.ndarray, " n"]:
        """Colours of a source split: `source_train` comes first, `source_test` last."""
        part = slice(len(labels)) if split == "source_train" else slice(-len(labels), None)
        follows = np.random.RandomState(seed).binomial(1, p, (self.source_size, 1))[part, 0]  # its draw
        within, free, *_ = _stream(self, ways, seed)
        free = free[part]
        if ways == 10:
            toward = torch.from_numpy(labels).float() / ways + within[part]
        else:
            toward = (free - 0.5).abs() * torch.from_numpy(np.sign(labels - 0.5)).float() + 0.5
        return torch.where(torch.from_numpy(follows == 1), toward, free).clamp(0, 1).numpy()

    def target(self, split: str, ways: int, seed: int) -> Float32[np.ndarray, " n"]:
        """Colours of a target split."""
        _, _, train, test, _ = _stream(self, ways, seed)
        return (train if split == "target_train" else test).clamp(0, 1).numpy()

    def initialise(self, layers: Sequence[nn.Linear], ways: int, seed: int) -> None:
        """PyTorch's first weights, as drawn by the script, where the channels of a pixel lie side by side."""
        *_, state = _stream(self, ways, seed)
        with torch.random.fork_rng(devices=[]), torch.no_grad():
            torch.set_rng_state(state)
            for index, layer in enumerate(layers):
                drawn = nn.Linear(layer.in_features, layer.out_features)
                weight = drawn.weight
                if index == 0:
                    weight = weight.unflatten(1, (-1, 2)).transpose(1, 2).flatten(1)
                layer.weight.copy_(weight)
                layer.bias.copy_(drawn.bias)


@lru_cache(maxsize=8)
def _stream(draw: PublishedDraw, ways: int, seed: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Colours within the label's tenth, free ones, the target's two splits, and the state after them."""
    generator = torch.Generator().manual_seed(42 + seed)

    def free(size: int) -> Tensor:
        if ways == 10:
            return torch.rand(size, 1, generator=generator)[:, 0]
        return torch.empty(size, 1).normal_(0.5, 0.5 / 3, generator=generator)[:, 0]

    within = free(draw.source_size) / ways if ways == 10 else torch.empty(0)
    rest = [free(size) for size in (draw.source_size, draw.target_train_size, draw.target_test_size)]
    return within, rest[0], rest[1], rest[2], generator.get_state()

"""Self-training against a plain Lightning loop on one network: images a second, cost of pseudo-labels.

    python benchmarks/robust.py [images]

All rows train the paper's network (1568-128-64-10) on the same random images in
batches of 500, one repetition, one thread, by the same trainer. `plain` is
cross entropy on labels, the least that a training loop does; a row of
self-training counts target images, and with the source loss it computes as many
source images beside them. Rows are interleaved; the median of three runs.
"""

import logging
import statistics
import sys
import time
import warnings

import numpy as np
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from triptych.config.robust import AdaptConfig, MatchConfig, PseudoLabelConfig, RobustConfig, SourceConfig
from triptych.data.prepared import Split
from triptych.robust.datamodule import TargetDataModule
from triptych.robust.module import Adaptation, sgd
from triptych.robust.networks import build
from triptych.robust.objectives import make_objective

REPEATS, BATCH, SHAPE = 3, 500, (2, 28, 28)
ADAPT = AdaptConfig(
    epochs=4, batch_size=BATCH, learning_rate=0.03, momentum=0.9, weight_decay=0.002, source_weight=1
)
ROBUST = RobustConfig(
    hidden=[128, 64],
    seeds=1,
    adapt=ADAPT,
    source=SourceConfig(poly=0),
    pseudo_label=PseudoLabelConfig(rounds=2, threshold=0.8, balance=False, soft=False),
    match=MatchConfig(threshold=0.95, relative_threshold=0.9, gain=0.5),
)
ROWS = ("pseudo_label", "entropy", "information_maximisation", "conjugate", "fixmatch", "adamatch")


class Plain(pl.LightningModule):
    """Cross entropy on labels."""

    def __init__(self) -> None:
        super().__init__()
        self.network: nn.Module = build(SHAPE, 10, ROBUST, seed=0)[0]

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """The same optimiser."""
        return sgd(self.parameters(), ADAPT)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """The mean loss of a batch."""
        images, labels = batch
        return F.cross_entropy(self.network(images), labels)


def seconds(module: pl.LightningModule, data: pl.LightningDataModule | DataLoader) -> float:
    """CPU seconds of a fit of `ADAPT.epochs` epochs."""
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=ADAPT.epochs,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    start = time.process_time()
    trainer.fit(module, data)
    return time.process_time() - start


def main(size: int = 20_000) -> None:
    """Measure and print."""
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    split = Split(rng.integers(0, 256, (size, *SHAPE), np.uint8), rng.integers(0, 10, size))
    images, labels = torch.from_numpy(split.images), torch.from_numpy(split.labels)
    found: dict[str, list[float]] = {}
    for _ in range(REPEATS):
        loader = DataLoader(TensorDataset(images, labels), BATCH, shuffle=True)
        found.setdefault("plain", []).append(seconds(Plain(), loader))
        for weight in (0, 1):
            for name in ROWS:
                objective = make_objective(name, ROBUST, examples=size, classes=10)
                config = AdaptConfig(**{**vars(ADAPT), "source_weight": weight})
                module = Adaptation(build(SHAPE, 10, ROBUST, seed=0), objective, config)
                data = TargetDataModule([split.images], [split], batch_size=BATCH, seed=0)
                row = f"{name}{' + source loss' if weight else ''}"
                found.setdefault(row, []).append(seconds(module, data))
    plain = statistics.median(found["plain"])
    lines = []
    for row, values in found.items():
        median = statistics.median(values)
        rate = size * ADAPT.epochs / median
        lines.append(f"{row:40}{rate:10,.0f} images/s{median / plain:8.2f} times the plain loop's seconds")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

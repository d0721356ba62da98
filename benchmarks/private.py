"""Stacked discriminators against one at a time, and training steps of the three releases.

    python benchmarks/private.py [discriminators]

The rival is what the released code does: a plain `torch.nn` network a
discriminator, each with its own Adam, stepped in turn. Stacked and single run
in this process, interleaved; a step is the whole loss with gradient penalty,
its backward pass and Adam. Stacked steps take the threads that are given, the
rival one: its small operations are slower on two. Both keep
the memory of a step for the next one, as the stages do. Rates are medians, of
seconds by the clock and of CPU seconds; the second are the ones to read on a
busy machine. Each row runs in a fresh process, whose peak memory is printed.
"""

import resource
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils.parametrizations import spectral_norm

from triptych.config.data import DataConfig
from triptych.config.private import DiscriminatorConfig, GeneratorConfig, PrivateConfig
from triptych.data.partition import partition
from triptych.data.prepared import Split
from triptych.heap import keep_memory
from triptych.privacy.certificate import mechanism
from triptych.privacy.ledger import Ledger
from triptych.privacy.noise import SeededSource
from triptych.private.batches import ShardDataModule, StepBatches
from triptych.private.budget import terms
from triptych.private.ensemble import build_ensemble
from triptych.private.gradients import set_gradients
from triptych.private.losses import Judge, discriminator_loss
from triptych.private.members import Part, cut
from triptych.private.module import GSWGAN
from triptych.private.release import Releaser, labels_seen
from triptych.private.warm_start import BETAS, descend, stacked_adam, update

DATA = DataConfig("mnist", image_size=28, train_size=60_000, test_size=10_000)
SETTINGS = {
    "mlp": DiscriminatorConfig("mlp", width=32, batch_size=12, learning_rate=1e-3),
    "conv": DiscriminatorConfig("conv", width=16, batch_size=32, learning_rate=1e-3),
}
REPEATS = 7
ROUNDS = {"mlp": 5, "conv": 1}  # steps of every discriminator in a repetition, as a training takes them
STEPS = 12  # of a training


class PlainMLP(nn.Module):
    """One MLP discriminator."""

    def __init__(self, width: int) -> None:
        super().__init__()
        sizes = (28 * 28 + 10, width, width)
        layers = [m for a, b in pairwise(sizes) for m in (nn.Linear(a, b), nn.ReLU())]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        return self.layers(torch.cat([images.flatten(1), F.one_hot(labels, 10).float()], 1)).squeeze(1)


class PlainConv(nn.Module):
    """One convolutional discriminator with projection, by torch's own layers."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = (1, width, 2 * width, 4 * width)
        layers = [
            m for a, b in pairwise(widths) for m in (spectral_norm(nn.Conv2d(a, b, 5, 2, 2)), nn.ReLU())
        ]
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.head = spectral_norm(nn.Linear(64 * width, 1))
        self.embedding = spectral_norm(nn.Embedding(10, 64 * width))

    def forward(self, images: Tensor, labels: Tensor) -> Tensor:
        features = self.body(images)
        return self.head(features).squeeze(1) + (self.embedding(labels) * features).sum(1)


PLAIN = {"mlp": PlainMLP, "conv": PlainConv}
Batch = tuple[Tensor, Tensor, Tensor, Tensor]  # real, fake, labels, mix


def alone(network: nn.Module) -> Judge:
    """`network` as an ensemble of one."""
    return lambda images, labels: network(images[0], labels[0])[None]


def step_alone(
    network: nn.Module, optimizer: torch.optim.Optimizer, settings: DiscriminatorConfig, batch: Batch
) -> None:
    """Loss by autograd, backward pass, torch's Adam."""
    real, fake, labels, mix = batch
    loss, _ = discriminator_loss(alone(network), real, fake, labels, mix=mix, settings=settings)
    descend(optimizer, loss.sum())


def step_together(
    part: Part, optimizer: torch.optim.Optimizer, settings: DiscriminatorConfig, batch: Batch
) -> None:
    """What training does."""
    real, fake, labels, mix = batch
    set_gradients(part, real, fake, labels, mix=mix, settings=settings)
    update(optimizer)


def seconds(work: Callable[[], object], threads: int) -> tuple[float, float]:
    """By the clock and of CPU, for one call."""
    torch.set_num_threads(threads)
    clock, start = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - clock, time.process_time() - start


def peak() -> float:
    """Largest resident memory of this process so far, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def stacked_against_single(kind: str, members: int, threads: int) -> str:
    """A row: discriminator steps a second, stacked and one at a time."""
    torch.set_num_threads(threads)
    settings = SETTINGS[kind]
    shape = (members, settings.batch_size)
    real, fake = torch.rand(2, *shape, 1, 28, 28)
    batch = (real, fake, torch.randint(10, shape), torch.rand(shape))
    (part,) = cut(build_ensemble(members, settings, DATA), members, chunk=None)
    together = stacked_adam([part], settings.learning_rate)
    networks = [PLAIN[kind](settings.width) for _ in range(members)]
    optimizers = [
        torch.optim.Adam(network.parameters(), settings.learning_rate, BETAS) for network in networks
    ]

    def single() -> None:
        for _ in range(ROUNDS[kind]):
            for j, (network, optimizer) in enumerate(zip(networks, optimizers, strict=True)):
                own = (batch[0][j : j + 1], batch[1][j : j + 1], batch[2][j : j + 1], batch[3][j : j + 1])
                step_alone(network, optimizer, settings, own)

    def stacked() -> None:
        for _ in range(ROUNDS[kind]):
            step_together(part, together, settings, batch)

    for setup in (single, stacked):  # Adam's, at the first call
        setup()
    times = [(*seconds(stacked, threads), *seconds(single, 1)) for _ in range(REPEATS)]
    steps = members * ROUNDS[kind]
    fast, fast_cpu, slow, slow_cpu = (steps / statistics.median(each) for each in zip(*times, strict=True))
    ratio, ratio_cpu = (statistics.median(row[i + 2] / row[i] for row in times) for i in (0, 1))
    return (
        f"{kind:4} {threads} threads  stacked {fast:7,.0f}/s, {fast_cpu:7,.0f} a CPU second   "
        f"one at a time {slow:5,.0f}/s, {slow_cpu:5,.0f} a CPU second   "
        f"{ratio:.2f} times as fast, {ratio_cpu:.2f} by CPU seconds"
    )


class Clock(pl.Callback):
    """CPU time at the end of every step."""

    def __init__(self) -> None:
        self.times: list[float] = []

    def on_train_batch_end(self, *_: Any, **__: Any) -> None:  # noqa: ANN401  # Lightning's own
        self.times.append(time.process_time())


def training(release: str, members: int) -> str:
    """A row: whole training steps a CPU second, and peak memory."""
    torch.set_num_threads(1)
    config = PrivateConfig(
        discriminators=members,
        generator=GeneratorConfig("dcgan", width=16, learning_rate=1e-3, average=0.99),
        discriminator=SETTINGS["conv"],
        steps=STEPS,
        rows=32,
        discriminator_steps=1,
        release=release,
        noise_multiplier=10.0,
    )
    rng, labels = np.random.default_rng(0), np.arange(60 * members) % 10
    records = Split(rng.integers(0, 256, (len(labels), 1, 28, 28)).astype(np.uint8), labels)
    shards = partition(len(records), members, seed=0)
    batches = StepBatches(records, shards, steps=STEPS, repeats=1, batch_size=32, seed=0)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        ledger = Ledger(Path(folder) / "ledger.jsonl", mechanism(terms(config)))
        seen = labels_seen(records.labels, shards, 10)
        module = GSWGAN(config, DATA, Releaser(config, ledger, SeededSource(), STEPS, seen))
        trainer = pl.Trainer(
            accelerator="cpu", max_epochs=1, logger=False, callbacks=[clock], enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(module, ShardDataModule(batches))
        ledger.close()
    rate = 1 / statistics.median(np.diff(clock.times))
    return f"{release:12} {rate:6.2f} generator steps/s"


def fresh(function: Callable[..., str], *arguments: Any) -> str:  # noqa: ANN401  # its own
    """The row, computed in a process of its own, with that process's peak memory."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), initializer=keep_memory) as pool:
        return pool.submit(measured, function, *arguments).result()


def measured(function: Callable[..., str], *arguments: Any) -> str:  # noqa: ANN401  # its own
    """The row of `function` with peak memory."""
    warnings.simplefilter("ignore")
    return f"{function(*arguments)}   peak {peak():,.0f} MB\n"


def main(members: int = 50) -> None:
    """Measure and print."""
    sys.stdout.write(
        f"{members} discriminators at 28x28; conv: width 16, batches of 32; mlp: width 32, batches of 12\n"
    )
    for kind in SETTINGS:
        for threads in (1, 2):
            sys.stdout.write(fresh(stacked_against_single, kind, members, threads))
            sys.stdout.flush()
    for release in ("full", "independent", "shared"):
        sys.stdout.write(fresh(training, release, members))
        sys.stdout.flush()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))

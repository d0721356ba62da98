"""Whether a whole training keeps its promise, told from its generator alone.

Two worlds differ in the shard of one discriminator: all white or all black
images. In each, discriminators are warm-started as always; then many trainings
run from there, each with fresh noise, and an adversary looks at the brightness
of what the released generator draws. The bound on epsilon is that of
`privacy.audit.epsilon_from_scores`. A block depends on one shard, so the
promise covers replacing the whole shard.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float64
from torch.optim import Adam

from triptych.config.data import DataConfig
from triptych.config.private import PrivateConfig
from triptych.data.partition import partition
from triptych.data.prepared import Split
from triptych.privacy.accounting import epsilon
from triptych.privacy.audit import epsilon_from_scores
from triptych.privacy.certificate import mechanism
from triptych.privacy.ledger import Ledger
from triptych.privacy.noise import random_source
from triptych.private.batches import ShardDataModule, StepBatches
from triptych.private.budget import terms
from triptych.private.ensemble import Ensemble, pooled
from triptych.private.generators import Generator
from triptych.private.release import Releaser, labels_seen
from triptych.private.warm_start import BETAS, WarmStart

PROBES = 64  # images that the adversary looks at
PLANTED = 0  # the discriminator whose shard differs


@dataclass(frozen=True)
class Membership:
    """What the promise says and what the adversary reached."""

    epsilon_claimed: float
    epsilon_lower_bound: float  # at 95% confidence

    @property
    def kept(self) -> bool:
        """False where the adversary refutes the promise."""
        return self.epsilon_lower_bound <= self.epsilon_claimed


def audit_membership(config: PrivateConfig, data: DataConfig, *, trials: int, seed: int = 0) -> Membership:
    """`trials` trainings of `config.steps` steps in each world; choose noise for an epsilon of about 1."""
    scores = [_scores(config, data, shade, trials, seed) for shade in (255, 0)]
    promise = terms(config)
    claimed = epsilon(promise.event, promise.delta, accountant=promise.accountant)
    return Membership(claimed, epsilon_from_scores(scores[0], scores[1], promise.delta))


def _scores(
    config: PrivateConfig, data: DataConfig, shade: int, trials: int, seed: int
) -> Float64[np.ndarray, " trials"]:
    """The adversary's view of each training in the world where the planted shard has this shade."""
    torch.manual_seed(seed)
    records, shards = _records(config, data, shade, seed)
    ensemble = _warm_start(config, data, records, seed)
    torch.manual_seed(seed + 1)  # both worlds start from one generator
    generator = Generator(config.generator, data)
    start = {name: value.clone() for name, value in generator.state_dict().items()}
    probes = generator.draw_latent(PROBES), torch.arange(PROBES) % data.classes
    torch.manual_seed(seed + 2 + shade)  # and see other noise
    promise = terms(config)
    seen = labels_seen(records.labels, shards, data.classes)
    scores = []
    with tempfile.TemporaryDirectory() as folder, Ledger(Path(folder, "l"), mechanism(promise)) as ledger:
        source = random_source(secure=config.secure_rng)
        releaser = Releaser(config, ledger, source, limit=trials * config.steps, seen=seen)
        for _ in range(trials):
            generator.load_state_dict(start)
            _train(generator, ensemble, releaser)
            with torch.no_grad():
                scores.append(float(generator(*probes).mean()))
    return np.array(scores)


def _records(config: PrivateConfig, data: DataConfig, shade: int, seed: int) -> tuple[Split, np.ndarray]:
    """Noise everywhere, one shade in the planted shard."""
    size = config.discriminators * config.discriminator.batch_size
    shape = (size, data.channels, data.image_size, data.image_size)
    images = np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)
    shards = partition(size, config.discriminators, seed=seed)
    images[shards[PLANTED]] = shade
    return Split(images, np.arange(size) % data.classes), shards


def _warm_start(config: PrivateConfig, data: DataConfig, records: Split, seed: int) -> Ensemble:
    module = WarmStart(config, data)
    steps, size = config.warm_start.steps, config.discriminator.batch_size
    shards = partition(len(records), config.discriminators, seed=seed)
    batches = StepBatches(records, shards, steps=steps, repeats=1, batch_size=size, seed=seed)
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, ShardDataModule(batches))
    return module.ensemble


def _train(generator: Generator, ensemble: Ensemble, releaser: Releaser) -> None:
    """The generator's side of the main loop; discriminators stay as the warm start left them."""
    config = releaser.config
    optimizer = Adam(generator.parameters(), config.generator.learning_rate, BETAS)
    for step in range(config.steps):
        labels = torch.randint(generator.classes, (config.rows,))
        fake = pooled(generator(generator.draw_latent(len(labels)), labels), config.discriminator.pool)
        gradient = releaser(ensemble, fake.detach(), labels, step=step)
        optimizer.zero_grad()
        fake.backward(gradient / len(labels))
        optimizer.step()

"""How each `private.method` is trained: every one ends in a generator and a ledger."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from pipelines.stage import Metrics, Stage

if TYPE_CHECKING:
    from flwr.serverapp import Grid
    from torch import Tensor

    from triptych.config.private import PrivateConfig
    from triptych.data.prepared import Split
    from triptych.privacy.ledger import Ledger
    from triptych.private.generators import Generator
    from triptych.private.rivals.autoencoder import AutoencoderTraining
    from triptych.private.rivals.dp_sgd import GradientReleaser
    from triptych.private.rivals.embedding import Embedding


class Trained(NamedTuple):
    """What a training ends in."""

    generator: "Generator"  # what may leave
    steps: int  # paid for, that it took
    metrics: Metrics = MappingProxyType({})  # of the method alone


Trainer = Callable[
    [Stage, "PrivateConfig", Path, int], Trained
]  # calibrated config, ledger, affordable steps
CURVES = "private_curves.csv"


def train_ensemble(stage: Stage, private: "PrivateConfig", path: Path, limit: int) -> Trained:
    """GS-WGAN, and G-PATE, which differs in its release alone; at most `limit` steps are paid for."""
    from triptych.data.partition import partition
    from triptych.data.prepared import read_split
    from triptych.data.weights import load_weights
    from triptych.privacy.certificate import mechanism
    from triptych.privacy.ledger import Ledger
    from triptych.privacy.noise import random_source
    from triptych.private.batches import ShardDataModule, StepBatches
    from triptych.private.budget import terms
    from triptych.private.module import GSWGAN
    from triptych.private.ranks import strategy
    from triptych.private.release import Releaser, labels_seen
    from triptych.private.rivals.gpate import VoteReleaser

    config = stage.config
    promise = terms(private)
    train = read_split(stage.inputs / "data/prepared/real", "train")
    shards = partition(len(train), private.discriminators, seed=config.seed)
    batches = StepBatches(
        train,
        shards,
        steps=promise.event.steps,
        repeats=private.discriminator_steps,
        batch_size=private.discriminator.batch_size,
        seed=config.seed + 1,  # other batches than those of the warm start
        trained=private.discriminator.trained,
    )
    with Ledger(path, mechanism(promise)) as ledger:
        source = random_source(secure=private.secure_rng)
        if private.method == "gpate":
            releaser = VoteReleaser(private, ledger, source, limit)
        else:
            seen = labels_seen(train.labels, shards, config.data.classes)
            releaser = Releaser(private, ledger, source, limit, seen)
        module = GSWGAN(_shared_settings(private), config.data, releaser)
        load_weights(stage.inputs / "out/private/warm_start/discriminators.safetensors", module.ensemble)
        data, processes = ShardDataModule(batches), strategy(config.trainer)
        stage.fit(module, data, epochs=1, curves=CURVES, strategy=processes)
    return Trained(module.cpu().released, int(module.steps_taken))


def _shared_settings(private: "PrivateConfig") -> "PrivateConfig":
    """`private` without what is GS-WGAN's alone, for a rival that trains the same networks."""
    from triptych.config.private import RepulsionConfig

    if private.method == "gswgan":
        return private
    return replace(private, impostors=0, repulsion=RepulsionConfig(), final_rate=1.0)


def _at_rest(private: "PrivateConfig") -> "PrivateConfig":
    """`private` with a generator that distorts no drawing: one that is trained better so. Its samples are
    distorted all the same, since weights know nothing of poses.
    """
    return replace(private, generator=replace(private.generator, distortion=0.0))


def release_embedding(
    private: "PrivateConfig",
    train: "Split",
    ledger: "Ledger",
    embedding: "Embedding",
    embed: "Callable[[Tensor], Tensor]",
    *,
    step: int = 0,
) -> None:
    """Fill `embedding` with the noisy sums of the embedded images, once, as `step` of the ledger."""
    import torch

    from triptych.privacy.noise import random_source
    from triptych.private.budget import terms
    from triptych.private.rivals.embedding import pay_once, release_means

    def release() -> "Tensor":
        return release_means(
            embed,
            torch.from_numpy(train.images),
            torch.from_numpy(train.labels),
            classes=len(embedding.means),
            noise_multiplier=terms(private).event.noise_multiplier,
            source=random_source(secure=private.secure_rng),
        )

    pay_once(ledger.path.with_name("embedding.safetensors"), ledger, embedding, release, step=step)


def gradient_releaser(
    private: "PrivateConfig", train: "Split", ledger: "Ledger", *, noise_multiplier: float, limit: int
) -> "GradientReleaser":
    """The door of DP-SGD with the settings of the chosen method."""
    import torch

    from triptych.privacy.noise import random_source
    from triptych.private.rivals.dp_sgd import GradientReleaser

    settings = getattr(private, private.method)
    return GradientReleaser(
        torch.from_numpy(train.images) / 255,
        torch.from_numpy(train.labels),
        sample_rate=settings.sample_rate,
        clip_norm=settings.clip_norm,
        noise_multiplier=noise_multiplier,
        ledger=ledger,
        source=random_source(secure=private.secure_rng),
        limit=limit,
    )


def train_dp_merf(stage: Stage, private: "PrivateConfig", path: Path, limit: int) -> Trained:
    """Release the embedding of all records once, then fit a generator to it."""
    from triptych.data.prepared import read_split
    from triptych.privacy.certificate import mechanism
    from triptych.privacy.ledger import Ledger
    from triptych.private.budget import terms
    from triptych.private.rivals.dp_merf import DPMERF
    from triptych.private.rivals.embedding import Embedding, FourierFeatures
    from triptych.private.rivals.steps import StepDataModule

    data, settings = stage.config.data, private.dp_merf
    train = read_split(stage.inputs / "data/prepared/real", "train")
    features = FourierFeatures(
        data.channels * data.image_size**2, settings.features, length_scale=settings.length_scale
    )
    embedding = Embedding(features, data.classes)
    module = DPMERF(_at_rest(private), data, embedding)  # first: an attempt that goes on draws no noise
    with Ledger(path, mechanism(terms(private))) as ledger:
        release_embedding(private, train, ledger, embedding, lambda chunk: features(chunk.flatten(1) / 255))
    stage.fit(module, StepDataModule(settings.steps), epochs=1, curves=CURVES)
    return Trained(module.cpu().released, 1)


def train_encoder(stage: Stage, training: "AutoencoderTraining", folder: Path, steps: int) -> None:
    """Train once: an embedding that was paid for is one of the codes of what an attempt left in `folder`.

    Whether it was trained here or earlier, the same random numbers come next: the embedding's noise.
    """
    from triptych.data.resume import derived_seed, seed_torch
    from triptych.data.weights import load_weights, save_weights
    from triptych.private.rivals.steps import StepDataModule

    weights, curves = folder / "autoencoder.safetensors", "private_encoder.csv"
    if weights.exists():
        load_weights(weights, training)
        shutil.copyfile(folder / curves, stage.out / curves)
    else:
        stage.fit(training, StepDataModule(steps), epochs=1, curves=curves)
        shutil.copyfile(stage.out / curves, folder / curves)  # first: where weights are, nothing is trained
        save_weights(weights, training.cpu())
    seed_torch(derived_seed(stage.config.seed, steps, 1))  # 1: not those of a batch


def train_dp_merf_ae(stage: Stage, private: "PrivateConfig", path: Path, limit: int) -> Trained:
    """Train an autoencoder by DP-SGD, release the embedding of all codes once, fit a generator of codes."""
    from triptych.data.prepared import read_split
    from triptych.privacy.certificate import mechanism
    from triptych.privacy.ledger import Ledger
    from triptych.private.budget import terms
    from triptych.private.rivals.autoencoder import AutoencoderTraining
    from triptych.private.rivals.dp_merf_ae import DPMERFAE
    from triptych.private.rivals.embedding import Embedding, FourierFeatures
    from triptych.private.rivals.steps import StepDataModule

    data, settings, promise = stage.config.data, private.dp_merf_ae, terms(private)
    train = read_split(stage.inputs / "data/prepared/real", "train")
    features = FourierFeatures(settings.codes, settings.features, length_scale=settings.length_scale)
    embedding = Embedding(features, data.classes)
    noise = settings.gradient_noise * promise.event.noise_multiplier
    with Ledger(path, mechanism(promise)) as ledger:
        spared = limit - 1  # the last step is the embedding's
        releaser = gradient_releaser(private, train, ledger, noise_multiplier=noise, limit=spared)
        training = AutoencoderTraining(private, data, releaser)
        module = DPMERFAE(private, data, embedding, training.autoencoder)  # first, as above
        train_encoder(stage, training, path.parent, settings.encoder_steps)
        encode = training.autoencoder.encode
        release_embedding(
            private,
            train,
            ledger,
            embedding,
            lambda chunk: features(encode(chunk / 255)),
            step=settings.encoder_steps,
        )
    stage.fit(module, StepDataModule(settings.steps), epochs=1, curves=CURVES)
    return Trained(module.cpu().released, int(training.steps_taken) + 1)


def train_dp_sgd_gan(stage: Stage, private: "PrivateConfig", path: Path, limit: int) -> Trained:
    """Train until the planned discriminator steps are done or `limit` are paid for."""
    from triptych.data.prepared import read_split
    from triptych.privacy.certificate import mechanism
    from triptych.privacy.ledger import Ledger
    from triptych.private.budget import terms
    from triptych.private.rivals.dp_sgd_gan import DPSGDGAN
    from triptych.private.rivals.steps import StepDataModule

    promise = terms(private)
    noise = promise.event.noise_multiplier
    train = read_split(stage.inputs / "data/prepared/real", "train")
    with Ledger(path, mechanism(promise)) as ledger:
        releaser = gradient_releaser(private, train, ledger, noise_multiplier=noise, limit=limit)
        module = DPSGDGAN(_at_rest(private), stage.config.data, releaser)
        stage.fit(module, StepDataModule(private.dp_sgd_gan.steps), epochs=1, curves=CURVES)
    return Trained(module.cpu().released, int(module.steps_taken))


def train_federated(stage: Stage, private: "PrivateConfig", path: Path, limit: int) -> Trained:
    """Server and clients in Flower's simulation engine, each in a folder beside the ledger."""
    from triptych.data.files import read_json
    from triptych.data.prepared import read_split
    from triptych.federated.engine import simulate
    from triptych.federated.folders import found_federation
    from triptych.federated.server import serve
    from triptych.federated.traffic import summarise
    from triptych.tracking.history import History

    real, trainer = stage.inputs / "data/prepared/real", stage.config.trainer
    train, card = read_split(real, "train"), read_json(real / "card.json")
    server = found_federation(path.parent, stage.config, private, train, card)
    ends: list[Trained] = []

    def main(grid: "Grid") -> None:
        released, rounds = serve(server, grid, progress=trainer.progress_bar)
        ends.append(Trained(released, len(rounds), summarise(rounds, server)))
        history = History(stage.out / CURVES)
        history.rows = {int(row["step"]) + 1: {k: v for k, v in row.items() if k != "step"} for row in rounds}
        history.write()

    simulate(main, path.parent / "clients", clients=server.own.clients, workers=trainer.threads)
    return ends[0]


TRAINERS: dict[str, Trainer] = {
    "gswgan": train_ensemble,
    "gpate": train_ensemble,
    "dp_merf": train_dp_merf,
    "dp_merf_ae": train_dp_merf_ae,
    "dp_sgd_gan": train_dp_sgd_gan,
    "fed_gswgan": train_federated,
    "fed_avg_gan": train_federated,
}

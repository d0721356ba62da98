"""The arithmetic of docs/scale.md, from the project's own networks and cost formulas: nothing is trained.

    python -m benchmarks.scale

Operations are counted by torch on tensors without memory; one multiply-accumulate
is two. Hours follow from rates that are assumptions, `DEVICE` among them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose, initialize_config_dir
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from triptych.config import Config, load
from triptych.graph.cost import count_macs
from triptych.graph.ops import Graph
from triptych.private.ensemble import build_ensemble
from triptych.private.losses import discriminator_loss, input_gradient
from triptych.tiny.arch import SearchSpace
from triptych.tiny.export import shape_graph
from triptych.tiny.supernet import Supernet
from triptych.tiny.zoo import published_space

ROOT = Path(__file__).parents[1]
FLOAT = 4  # bytes
TRAINED = 4 * FLOAT  # bytes of a parameter with its gradient and Adam's two moments
DEVICE = 1e14  # operations a second that dense layers sustain on one large accelerator; an assumption
DEPTHWISE = 1e13  # the same where depthwise layers wait for memory; an assumption
LINK = 1.25e9  # bytes a second into a server (10 Gbit/s); an assumption
CLIENTS = 1_000_000
SAMPLED = 1_000  # clients of a round


def configured(*overrides: str) -> Config:
    """The checked configuration."""
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return load(compose("config", overrides=list(overrides)))


class Counter(TorchDispatchMode):
    """Adds up the operations of products and convolutions, gradients of gradients included.

    torch's own FlopCounterMode does the same by module, which forbids `autograd.grad`.
    """

    total = 0

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401  # torch's type
        types: Any,  # noqa: ANN401  # torch's type
        args: Any = (),  # noqa: ANN401  # torch's type
        kwargs: Any = None,  # noqa: ANN401  # torch's type
    ) -> Any:  # noqa: ANN401  # torch's type
        out = func(*args, **(kwargs or {}))
        cost = flop_registry.get(func._overloadpacket)
        if cost is not None:
            self.total += cost(*args, **(kwargs or {}), out_val=out)
        return out


def count(work: Callable[[], object]) -> int:
    """Operations of `work`, backward passes included."""
    with Counter() as counter:
        work()
    return counter.total


@dataclass(frozen=True)
class Ensemble:
    """What one published discriminator costs, and a generator step of all of them."""

    members: int
    parameters: int  # of one
    embedding: int  # of these in the projection on the label
    judging: int  # operations of one on the rows of a step
    learning: int  # operations of one for a batch of its own

    @property
    def trained_bytes(self) -> int:
        """All members with gradients and Adam's moments."""
        return self.members * self.parameters * TRAINED


def ensemble(config: Config) -> Ensemble:
    """The costs of `config.private` on the images of `config.data`."""
    private, data = config.private, config.data
    images = (data.channels, data.image_size, data.image_size)
    with torch.device("meta"):
        judge = build_ensemble(1, private.discriminator, data)
        fake, real = (torch.empty(1, n, *images) for n in (private.rows, private.discriminator.batch_size))
        labels = [torch.empty(1, each.shape[1], dtype=torch.int64) for each in (fake, real)]
        mix = torch.empty(1, real.shape[1])

    def learn() -> None:
        loss, _ = discriminator_loss(judge, real, real, labels[1], mix=mix, settings=private.discriminator)
        loss.sum().backward()

    return Ensemble(
        members=private.discriminators,
        parameters=sum(each.numel() for each in judge.parameters()),
        embedding=sum(v.numel() for name, v in judge.named_parameters() if name.startswith("embedding")),
        judging=count(lambda: input_gradient(judge, fake, labels[0])),
        learning=count(learn),
    )


def ensemble_lines(config: Config) -> Iterator[str]:
    """Memory and time of the ensemble."""
    cost, private = ensemble(config), config.private
    side, steps = config.data.image_size, private.steps
    speaking = steps * cost.members * cost.judging
    learning = steps * cost.members * private.discriminator_steps * cost.learning
    lean = (cost.parameters - cost.embedding) * cost.members * TRAINED
    yield f"{cost.members} discriminators, images {side}x{side}, {config.data.classes} classes"
    embedding = f"{cost.embedding / 1e6:.1f} M embed the label"
    yield f"parameters of one: {cost.parameters / 1e6:.1f} M, of these {embedding}"
    yield f"all with Adam: {cost.trained_bytes / 1e12:.2f} TB, without the embedding {lean / 1e9:.0f} GB"
    yield f"{steps} steps, all judge {private.rows} rows: {hours(speaking, DEVICE):,.0f} device hours"
    yield f"all learn {private.discriminator_steps} times a step: {hours(learning, DEVICE):,.0f} device hours"
    share = hours(learning, DEVICE) / cost.members
    yield f"one learns a step (discriminator.trained=1): {share:,.1f} device hours"


def hours(operations: float, rate: float) -> float:
    """Time of so many operations."""
    return operations / rate / 3600


def activations(graph: Graph) -> int:
    """Values of all outputs for one image."""
    return sum(int(np.prod(graph[op.output].shape)) for op in graph.ops)


def supernet_lines(space: SearchSpace, config: Config, images: int) -> Iterator[str]:
    """Memory, time and traffic of MCUNet's schedule."""
    settings = config.tiny.supernet
    largest = shape_graph(space, space.largest())
    rng = np.random.default_rng(0)
    mean = float(np.mean([count_macs(shape_graph(space, space.random(rng))) for _ in range(100)]))
    with torch.device("meta"):
        parameters = sum(each.numel() for each in Supernet(space).parameters())
    passes = 3 * 2  # forward, two products backward; two operations a multiply-accumulate
    epochs = (
        settings.largest_epochs * count_macs(largest) + settings.epochs * settings.subnets_per_step * mean
    )
    batch = settings.batch_size
    steps = (settings.largest_epochs + settings.epochs) * (images // batch)
    yield f"supernet w{space.width_mult}-r{space.resolution}: {parameters / 1e6:.2f} M parameters"
    yield f"largest subnet {count_macs(largest) / 1e6:.0f} M MACs, a random one {mean / 1e6:.0f} M"
    alive = batch * activations(largest) * FLOAT
    yield f"activations of {batch} images, largest subnet: {alive / 1e9:.1f} GB"
    work = hours(passes * images * epochs, DEPTHWISE)
    yield f"{steps:,} steps of {batch} images: {work:,.0f} device hours"
    yield f"gradients between processes: {2 * parameters * FLOAT / 1e6:.0f} MB a step and process"


def federated_lines(config: Config) -> Iterator[str]:
    """Traffic of a round: fakes and labels down, one clipped gradient a row up."""
    private, data = config.private, config.data
    row = data.channels * data.image_size**2 * FLOAT
    down, up = private.rows * (row + 8), private.rows * row
    yield f"a client's round: {down / 1e3:.0f} kB down, {up / 1e3:.0f} kB up, {private.rows} rows"
    for clients in (SAMPLED, CLIENTS):
        seconds = clients * (down + up) / LINK
        total = private.steps * seconds / 3600
        yield (
            f"{clients:,} clients a round: {clients * (down + up) / 1e9:,.1f} GB, {seconds:,.1f} s; "
            f"{private.steps} rounds {total:,.1f} hours of one link"
        )
    speaks = private.steps * SAMPLED / CLIENTS
    yield f"of {CLIENTS:,} clients, {SAMPLED:,} a round, each speaks in {speaks:.0f} rounds"


def data_lines(images: int, side: int) -> Iterator[str]:
    """What a stage that reads a split whole keeps in memory."""
    yield f"{images:,} images as bytes, {side}x{side}: {images * 3 * side**2 / 1e9:.0f} GB"


def lines() -> Iterator[str]:
    """Everything, in the order of docs/scale.md."""
    imagenet = configured("experiment=mcunet_spaces")
    paper = configured("experiment=paper/gswgan_mnist")
    full = replace(paper, private=replace(paper.private, release="full"), data=imagenet.data)
    space = published_space(0.5, 176, imagenet.data.classes, mobilenetv2=False)
    yield from data_lines(imagenet.data.train_size, imagenet.data.image_size)
    yield from ensemble_lines(full)
    yield from supernet_lines(space, imagenet, imagenet.data.train_size)
    yield from federated_lines(configured("experiment=mnist", "private.steps=3000", "private.rows=64"))


if __name__ == "__main__":
    print("\n".join(lines()))  # noqa: T201  # the answer

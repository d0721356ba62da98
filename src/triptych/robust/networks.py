"""The classifier, and how the networks of several repetitions are stored."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from jaxtyping import Float, Num
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from triptych.config.robust import RobustConfig
from triptych.data.files import write_atomic
from triptych.data.resume import derived_seed
from triptych.errors import DataError


class Classifier(nn.Module):
    """Convolutions with stride 2, then fully connected layers, ReLU between all.

    The first convolution is 5x5, the others 3x3. Without any, 1568-128-64-10 is the
    paper's. `batch_norm` normalises before each ReLU, which the paper's does not.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        hidden: Sequence[int],
        classes: int,
        *,
        filters: Sequence[int] = (),
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        channels, height, width = shape
        layers: list[nn.Module] = []
        for index, outputs in enumerate(filters):
            kernel = 3 if index else 5
            norm = [nn.BatchNorm2d(outputs)] if batch_norm else []
            layers += [nn.Conv2d(channels, outputs, kernel, 2, kernel // 2), *norm, nn.ReLU()]
            channels, height, width = outputs, (height + 1) // 2, (width + 1) // 2
        layers += [nn.Flatten()] if filters else []
        sizes = [channels * height * width, *hidden]
        for inputs, outputs in pairwise(sizes):
            norm = [nn.BatchNorm1d(outputs)] if batch_norm else []
            layers += [nn.Linear(inputs, outputs), *norm, nn.ReLU()]
        self.flat = not filters
        self.layers = nn.Sequential(*layers, nn.Linear(sizes[-1], classes))

    def forward(self, images: Num[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Logits of pixels from 0 to 255, whole or not."""
        return self.layers((images.flatten(1) if self.flat else images) / 255)

    def linear(self) -> list[nn.Linear]:
        """The fully connected layers, in order."""
        return [layer for layer in self.layers if isinstance(layer, nn.Linear)]


def build(shape: tuple[int, int, int], classes: int, config: RobustConfig, *, seed: int) -> list[Classifier]:
    """One classifier a repetition, each with its own initial weights from (seed, repetition)."""
    networks = []
    with torch.random.fork_rng(devices=[]):
        for repetition in range(config.seeds):
            torch.manual_seed(derived_seed(seed, repetition))
            networks.append(
                Classifier(
                    shape, config.hidden, classes, filters=config.filters, batch_norm=config.batch_norm
                )
            )
    return networks


@torch.no_grad()
def predict(network: nn.Module, images: Num[Tensor, "n channels height width"]) -> Float[Tensor, "n classes"]:
    """Logits in evaluation mode, in pieces; the network's mode is left as it was."""
    mode = network.training
    network.eval()
    logits = torch.cat([network(piece) for piece in images.split(500)])
    network.train(mode)
    return logits


def save_networks(folder: Path, networks: Sequence[nn.Module], *, name: str) -> None:
    """Write every repetition, its names prefixed by `<repetition>.`."""
    weights = {
        f"{repetition}.{key}": value.contiguous()
        for repetition, network in enumerate(networks)
        for key, value in network.state_dict().items()
    }
    write_atomic(folder / f"{name}.safetensors", save(weights))


def save_classifier(folder: Path, network: nn.Module) -> None:
    """Write one network as the stage's `classifier.safetensors`."""
    weights = {key: value.contiguous() for key, value in network.state_dict().items()}
    write_atomic(folder / "classifier.safetensors", save(weights))


def load_networks(path: Path, networks: Sequence[nn.Module]) -> None:
    """Fill `networks` with what `save_networks` wrote. Raises DataError where they do not fit."""
    try:
        weights = load(path.read_bytes())
        for repetition, network in enumerate(networks):
            network.load_state_dict(_of(weights, repetition))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist; run the stage that writes it (`dvc repro`)") from error
    except (SafetensorError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(
            f"{path} does not fit robust.filters, hidden, batch_norm and seeds: {reason}"
        ) from error


def _of(weights: Mapping[str, Tensor], repetition: int) -> dict[str, Tensor]:
    prefix = f"{repetition}."
    return {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}

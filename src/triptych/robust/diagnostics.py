"""Does a classifier use the colour? Accuracy by group, and in other colours.

The group of an example is whether its colour points to its label (aligned) or
to another one (conflicting). A classifier that ignores the colour is equally
good on both, and as good when the colour is drawn anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float32, Int64, UInt8
from torch import nn

from triptych.data.prepared import Split
from triptych.data.shift import colour_bin, repaint
from triptych.robust.losses import entropy
from triptych.robust.networks import predict


@dataclass(frozen=True)
class Trial:
    """The test splits of one repetition, and the colours of the target's."""

    source: Split
    target: Split
    target_colour: Float32[np.ndarray, " n"] | None  # None: no spurious feature is known
    painted: bool = True  # whether the colour can be drawn anew


def predicted_labels(network: nn.Module, split: Split) -> Int64[np.ndarray, " n"]:
    """The most probable class of every image."""
    return predict(network, torch.from_numpy(split.images)).argmax(dim=1).numpy()


def accuracy(network: nn.Module, split: Split) -> float:
    """Share of `split` that is classified rightly."""
    return float(np.mean(predicted_labels(network, split) == split.labels))


def confidence(network: nn.Module, images: UInt8[np.ndarray, "n channels height width"]) -> dict[str, float]:
    """How sure the network is, without labels: mean entropy in nats, mean highest probability."""
    logits = predict(network, torch.from_numpy(images))
    return {
        "target_entropy": entropy(logits).mean().item(),
        "target_confidence": logits.softmax(dim=1).amax(dim=1).mean().item(),
    }


def group_accuracies(
    predicted: Int64[np.ndarray, " n"],
    labels: Int64[np.ndarray, " n"],
    colour: Float32[np.ndarray, " n"],
    *,
    ways: int,
) -> dict[str, float]:
    """Accuracy where colour and label agree and where they do not; empty groups are left out."""
    right = predicted == labels
    aligned = colour_bin(colour, ways) == labels
    groups = {"accuracy_group_aligned": right[aligned], "accuracy_group_conflicting": right[~aligned]}
    return {name: float(group.mean()) for name, group in groups.items() if len(group)}


def recoloured_accuracies(
    network: nn.Module, split: Split, *, redraws: int, rng: np.random.Generator
) -> list[float]:
    """Accuracy with the colour of every image drawn from U[0, 1] anew, `redraws` times."""
    accuracies = []
    for _ in range(redraws):
        colour = rng.random(len(split), dtype=np.float32)
        accuracies.append(accuracy(network, Split(repaint(split.images, colour), split.labels)))
    return accuracies


def compare(
    networks: Sequence[nn.Module],
    trials: Sequence[Trial],
    name: str,
    *,
    ways: int,
    redraws: int,
    seed: int,
) -> dict[str, float]:
    """Metrics `<metric>_<name>` of the networks of all repetitions: mean, and `_sd` over repetitions.

    The source images in fresh colours show what the spurious colour is worth:
    `accuracy_recoloured_<name>_mean` and `_sd` over all redraws and repetitions.
    """
    metrics, recoloured = [], []
    for network, trial in zip(networks, trials, strict=True):
        predicted = predicted_labels(network, trial.target)
        groups = {}
        if trial.target_colour is not None:
            groups = group_accuracies(predicted, trial.target.labels, trial.target_colour, ways=ways)
        source = accuracy(network, trial.source)
        target = float(np.mean(predicted == trial.target.labels))
        metrics.append({"source_accuracy": source, "target_accuracy": target, **groups})
        if trial.painted:
            rng = np.random.default_rng(seed)
            recoloured += recoloured_accuracies(network, trial.source, redraws=redraws, rng=rng)
    if not recoloured:
        return mean_and_sd(metrics, name)
    return {
        **mean_and_sd(metrics, name),
        f"accuracy_recoloured_{name}_mean": float(np.mean(recoloured)),
        f"accuracy_recoloured_{name}_sd": _sd(recoloured),
    }


def headline(metrics: Mapping[str, float], objective: str) -> dict[str, float]:
    """The metrics without a name: the source classifier on the source, the rest by `objective`."""
    after = {
        metric.replace(f"_{objective}", "", 1): value
        for metric, value in metrics.items()
        if f"_{objective}" in metric and not metric.startswith("source_")
    }
    return {
        **after,
        "source_accuracy": metrics["source_accuracy_before"],
        "source_accuracy_sd": metrics["source_accuracy_before_sd"],
    }


def mean_and_sd(repetitions: Sequence[Mapping[str, float]], name: str = "") -> dict[str, float]:
    """Each metric's mean as `<metric>_<name>` and its standard deviation as `<metric>_<name>_sd`.

    Over the repetitions that have the metric; the deviation of one repetition is 0.
    """
    summary = {}
    for metric in sorted({metric for each in repetitions for metric in each}):
        values = [each[metric] for each in repetitions if metric in each]
        key = f"{metric}_{name}" if name else metric
        summary |= {key: float(np.mean(values)), f"{key}_sd": _sd(values)}
    return summary


def _sd(values: Sequence[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0

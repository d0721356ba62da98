"""Does a classifier use the colour? Accuracy by group, and in other colours.

The group of an example is its label and the class that its colour points to. In
aligned groups the two are the same, in conflicting ones they are not. A
classifier that ignores the colour is equally good on all, and as good when the
colour is drawn anew.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from jaxtyping import Float32, Float64, Int64, UInt8
from torch import nn

from triptych.data.prepared import Split
from triptych.data.shift import colour_bin, repaint
from triptych.robust.losses import entropy, marginal_entropy
from triptych.robust.networks import predict

LEAST = 10  # images of a group whose accuracy may be the worst one; of fewer it is mostly luck


@dataclass(frozen=True)
class Trial:
    """The test splits of one repetition, the colours of the target's, and the target without labels."""

    source: Split
    target: Split
    target_colour: Float32[np.ndarray, " n"] | None  # None: no spurious feature is known
    unlabelled: UInt8[np.ndarray, "m channels height width"]
    ways: int  # classes
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


@dataclass(frozen=True)
class Groups:
    """Images and right answers, counted by label (rows) and the class that the colour points to (columns)."""

    images: Int64[np.ndarray, "ways ways"]
    right: Int64[np.ndarray, "ways ways"]

    def accuracies(self) -> Float64[np.ndarray, "ways ways"]:
        """NaN where a group has fewer than `LEAST` images."""
        return np.where(self.images >= LEAST, self.right / np.maximum(self.images, 1), np.nan)

    def worst(self) -> float | None:
        """The lowest accuracy of a group; None where every group is too small."""
        values = self.accuracies()
        return None if np.isnan(values).all() else float(np.nanmin(values))


def count_groups(
    predicted: Int64[np.ndarray, " n"],
    labels: Int64[np.ndarray, " n"],
    colour: Float32[np.ndarray, " n"],
    *,
    ways: int,
) -> Groups:
    """Count every group."""
    group = ways * labels + colour_bin(colour, ways)
    images, right = (
        np.bincount(each, minlength=ways**2).reshape(ways, ways).astype(np.int64)
        for each in (group, group[predicted == labels])
    )
    return Groups(images, right)


@dataclass(frozen=True)
class Recoloured:
    """What a network says of the same images in fresh colours, U[0, 1]."""

    accuracies: list[float]  # one a redraw
    flip_rate: float  # share of predictions that differ from those in the images' own colours
    reliance: float  # how far errors go to the class that the colour points to; see `reliance`


def recolour(
    network: nn.Module, split: Split, *, ways: int, redraws: int, rng: np.random.Generator
) -> Recoloured:
    """Draw the colour of every image anew, `redraws` times."""
    own = predicted_labels(network, split)
    accuracies, flips, relied = [], [], []
    for _ in range(redraws):
        colour = rng.random(len(split), dtype=np.float32)
        predicted = predicted_labels(network, Split(repaint(split.images, colour), split.labels))
        accuracies.append(float(np.mean(predicted == split.labels)))
        flips.append(float(np.mean(predicted != own)))
        relied.append(reliance(predicted, split.labels, colour, ways=ways))
    return Recoloured(accuracies, float(np.mean(flips)), float(np.mean(relied)))


def reliance(
    predicted: Int64[np.ndarray, " n"],
    labels: Int64[np.ndarray, " n"],
    colour: Float32[np.ndarray, " n"],
    *,
    ways: int,
) -> float:
    """Where the colour points to a wrong class: share predicted as that class, beyond the other wrong ones.

    1: the colour decides; 0: no wrong class is preferred. For two ways, where
    there is no other wrong class, it is the share of errors on these images.
    """
    pointed = colour_bin(colour, ways)
    misled = pointed != labels
    if not misled.any():
        return 0.0
    wrong = predicted[misled] != labels[misled]
    followed = predicted[misled] == pointed[misled]
    others = float(np.mean(wrong & ~followed)) / (ways - 2) if ways > 2 else 0.0
    return float(np.mean(followed)) - others


def selection_score(
    network: nn.Module, unlabelled: UInt8[np.ndarray, "n channels height width"], fresh: Recoloured | None
) -> float:
    """What hyper-parameters are chosen by, 0 to 1, more is better: no label of the target is needed.

    Accuracy on held-out source images in fresh colours; where nothing can be painted,
    how much the predictions on the target tell the classes apart: the mutual
    information of image and class as a share of its maximum, log(classes).
    """
    if fresh is not None:
        return float(np.mean(fresh.accuracies))
    logits = predict(network, torch.from_numpy(unlabelled))
    information = marginal_entropy(logits) - entropy(logits).mean()
    return information.item() / float(np.log(logits.shape[1]))


@dataclass(frozen=True)
class Examined:
    """The metrics of one network on its trial."""

    metrics: dict[str, float]
    recoloured: list[float]  # accuracies in fresh colours, one a redraw; empty where nothing is painted
    groups: Groups | None  # of the target; None where no spurious feature is known


def examine(network: nn.Module, trial: Trial, *, redraws: int, seed: int) -> Examined:
    """Accuracy on the source, the target and its groups; what fresh colours change; the selection score."""
    predicted = predicted_labels(network, trial.target)
    metrics = {
        "source_accuracy": accuracy(network, trial.source),
        "target_accuracy": float(np.mean(predicted == trial.target.labels)),
    }
    fresh = groups = None
    if trial.target_colour is not None:
        metrics |= group_accuracies(predicted, trial.target.labels, trial.target_colour, ways=trial.ways)
        groups = count_groups(predicted, trial.target.labels, trial.target_colour, ways=trial.ways)
    if trial.painted:
        rng = np.random.default_rng(seed)
        fresh = recolour(network, trial.source, ways=trial.ways, redraws=redraws, rng=rng)
        metrics |= {"flip_rate": fresh.flip_rate, "reliance": fresh.reliance}
    metrics["selection_score"] = selection_score(network, trial.unlabelled, fresh)
    return Examined(metrics, fresh.accuracies if fresh else [], groups)


def pooled(examined: Sequence[Examined]) -> Groups | None:
    """The groups of all repetitions together; None where no spurious feature is known."""
    found = [each.groups for each in examined if each.groups is not None]
    if not found:
        return None
    images, right = np.sum([(each.images, each.right) for each in found], axis=0)
    return Groups(images, right)


def summarise(examined: Sequence[Examined], name: str) -> dict[str, float]:
    """Metrics `<metric>_<name>` of the networks of all repetitions: mean, and `_sd` over repetitions.

    The source images in fresh colours show what the spurious colour is worth:
    `accuracy_recoloured_<name>_mean` and `_sd` over all redraws and repetitions,
    how often a prediction changes (`flip_rate`) and how far it follows (`reliance`).
    `accuracy_group_worst_<name>` is of all repetitions together.
    """
    summary = mean_and_sd([each.metrics for each in examined], name)
    if recoloured := [value for each in examined for value in each.recoloured]:
        summary[f"accuracy_recoloured_{name}_mean"] = float(np.mean(recoloured))
        summary[f"accuracy_recoloured_{name}_sd"] = _sd(recoloured)
    groups = pooled(examined)
    if groups is not None and (worst := groups.worst()) is not None:
        summary[f"accuracy_group_worst_{name}"] = worst
    return summary


def agreement(networks: Sequence[nn.Module], images: UInt8[np.ndarray, "n channels height width"]) -> float:
    """Mean share of images on which two networks agree: an estimate of their accuracy without labels.

    Jiang, Nagarajan, Baek, Kolter, arXiv 2106.13799, Theorem 4.1: right where the
    networks are calibrated as an ensemble.
    """
    labels = np.zeros(len(images), np.int64)
    predicted = [predicted_labels(network, Split(images, labels)) for network in networks]
    return float(np.mean([np.mean(a == b) for a, b in combinations(predicted, 2)]))


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

"""What the chain's certificate says, and the figure of what each panel costs and gains."""

from collections.abc import Mapping
from typing import Any

from triptych.config.hinge import HingeConfig
from triptych.config.tiny import BoardConfig

Metrics = Mapping[str, Mapping[str, Any]]
PROMISED = (
    "epsilon",
    "delta",
    "adjacency",
    "epsilon_accountant",
    "noise_multiplier",
    "steps",
    "theorem",
    "rng",
)
NOT_COVERED = (
    "The target's images: they are used without protection, on the side of the one who adapts.",
    "The accuracy: it is measured with the target's test labels, after everything is chosen.",
    "The choice of settings: whoever tries several on the sensitive data pays for each.",
    "More than one release: epsilons of several generators from the same data add up.",
)


def claims(
    promise: Mapping[str, Any], metrics: Metrics, *, board: BoardConfig, hinge: HingeConfig
) -> dict[str, Any]:
    """Privacy, training, accuracy and size, each with what it rests on."""
    measured, data = metrics["measure"], metrics["data"]
    adapted = f"and {data['unlabelled_size']} target images without labels" if hinge.self_training else ""
    return {
        "privacy": {
            **{name: promise[name] for name in PROMISED if name in promise},
            "covers": "one record of the sensitive training set, in everything from the generator to the "
            "firmware: all of it is computed from the generator's samples (post-processing)",
            "not_covered": NOT_COVERED,
        },
        "trained_on": {
            "generator": "the sensitive training set, through sanitised gradients alone",
            "supernet": f"{data['source_size']} samples of the generator",
            "architecture": "selected by held-out samples of the generator, within the board's limits",
            "adapted subnet": " ".join(f"the same samples {adapted}".split()),
            "int8 network": "the target images, with the labels that the adapted subnet gives them",
        },
        "accuracy": {
            "target_accuracy": measured["board_accuracy"],
            "on": f"{measured['inputs_compared']} labelled test images of the target ({hinge.target}), "
            "answered by the simulated board",
        },
        "board": {
            "name": board.name,
            **{name: measured[name] for name in ("instructions", "peak_sram", "flash", "sram_proven")},
            "mismatches_reference": measured["mismatches_reference"],
            "mismatches_litert": measured["mismatches_litert"],
        },
    }


def headline(promise: Mapping[str, Any], metrics: Metrics) -> dict[str, Any]:
    """The chain's metrics: one epsilon, one accuracy, one peak SRAM."""
    measured = metrics["measure"]
    return {
        "epsilon": promise["epsilon"],
        "delta": promise["delta"],
        "board_accuracy": measured["board_accuracy"],
        "int8_accuracy": metrics["quantize"]["int8_accuracy"],
        "subnet_accuracy": metrics["quantize"]["subnet_accuracy"],
        "source_validation_accuracy": metrics["search"]["validation_accuracy"],
        **{name: measured[name] for name in ("instructions", "peak_sram", "flash")},
        "macs": metrics["quantize"]["macs"],
    }

"""Schema of the hinge: what joins the panels into one chain."""

from dataclasses import dataclass

from triptych.config.checks import MISSING, choice, positive, require

CHANNELS = {"coloured": 2, "usps": 1}  # of the images of each target


@dataclass
class HingeConfig:
    """From private samples to a board that answers on the target; the rest is configured by the panels."""

    source: str = MISSING  # synthetic; real is an ablation, which no certificate covers
    target: str = MISSING  # coloured: held-out images in colours that say nothing of their label; usps
    channels: int = MISSING  # of its images; the chain's experiments set data.channels to it
    source_size: int | None = None  # samples used, at most; null: all
    distortion: float = 0.0  # of the samples, from 0, as drawn, to 1
    source_test_size: int = MISSING  # samples that the source's classifier is not trained on
    unlabelled_size: int = MISSING  # target images that self-training sees, without their labels
    self_training: bool = MISSING  # false is an ablation

    def check(self) -> None:
        choice("hinge.source", self.source, ("synthetic", "real"))
        choice("hinge.target", self.target, tuple(CHANNELS))
        expected = CHANNELS[self.target]
        require(
            self.channels == expected,
            f"hinge.channels={self.channels} does not fit hinge.target={self.target}, which has {expected}; "
            f"choose the group, as hinge={self.target}",
        )
        require(
            0 <= self.distortion <= 1,
            f"hinge.distortion={self.distortion} must lie in [0, 1]: 0 leaves samples as drawn",
        )
        for key in ("source_test_size", "unlabelled_size"):
            positive(f"hinge.{key}", getattr(self, key))
        if self.source_size is not None:
            positive("hinge.source_size", self.source_size)

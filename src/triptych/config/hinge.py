"""Schema of the hinge: what joins the panels into one chain."""

from dataclasses import dataclass

from triptych.config.checks import MISSING, choice, positive


@dataclass
class HingeConfig:
    """From private samples to a board that answers on the target; the rest is configured by the panels."""

    source: str = MISSING  # synthetic; real is an ablation, which no certificate covers
    target: str = MISSING  # coloured: held-out images in colours that say nothing of their label
    source_test_size: int = MISSING  # samples that the source's classifier is not trained on
    unlabelled_size: int = MISSING  # target images that self-training sees, without their labels
    self_training: bool = MISSING  # false is an ablation

    def check(self) -> None:
        choice("hinge.source", self.source, ("synthetic", "real"))
        choice("hinge.target", self.target, ("coloured",))
        for key in ("source_test_size", "unlabelled_size"):
            positive(f"hinge.{key}", getattr(self, key))

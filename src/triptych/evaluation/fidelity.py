"""How close samples are to real images, by torch-fidelity on our reference classifier.

The scores carry `reference` in their name: on other features than Inception's
they must never share a column with the published FID.
"""

from collections.abc import Mapping
from typing import Any

import torch
import torch_fidelity
from jaxtyping import UInt8
from torch import Tensor
from torch.utils.data import Dataset
from torch_fidelity.feature_extractor_base import FeatureExtractorBase
from torch_fidelity.registry import FEATURE_EXTRACTORS_REGISTRY

from triptych.data.prepared import Split
from triptych.evaluation.classifier import Classifier

ISC_SPLITS = 10  # as published
LOGITS, FEATURES = "logits", "features"
NAMES = {
    "inception_score": torch_fidelity.KEY_METRIC_ISC_MEAN,
    "fid_reference": torch_fidelity.KEY_METRIC_FID,
    "kid_reference": torch_fidelity.KEY_METRIC_KID_MEAN,
    "precision_reference": torch_fidelity.KEY_METRIC_PRECISION,
    "recall_reference": torch_fidelity.KEY_METRIC_RECALL,
}


class Images(Dataset):
    """The images of a split as torch-fidelity wants them."""

    def __init__(self, split: Split) -> None:
        self.images = torch.from_numpy(split.images)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> UInt8[Tensor, "channels height width"]:
        return self.images[index]


def register(classifier: Classifier, digest: str) -> str:
    """Make `classifier` a feature extractor of torch-fidelity; returns its name there.

    `digest` identifies the weights, so that two classifiers are never confused.
    """

    class Extractor(FeatureExtractorBase):
        def __init__(self, name: str, features_list: list[str], **options: Any) -> None:  # noqa: ANN401  # the library's
            super().__init__(name, features_list)
            self.classifier = classifier

        @staticmethod
        def get_provided_features_list() -> tuple[str, ...]:
            return LOGITS, FEATURES

        @staticmethod
        def get_default_feature_layer_for_metric(metric: str) -> str:
            return LOGITS if metric == "isc" else FEATURES

        @staticmethod
        def can_be_compiled() -> bool:
            return False

        def forward(self, input: UInt8[Tensor, "batch channels height width"]) -> tuple[Tensor, ...]:
            features = self.classifier.features(input)
            known = {LOGITS: self.classifier.head(features), FEATURES: features}
            return tuple(known[name] for name in self.features_list)

    name = f"reference-{digest[:16]}"
    if name not in FEATURE_EXTRACTORS_REGISTRY:  # one process may score several methods
        torch_fidelity.register_feature_extractor(name, Extractor)
    return name


def fidelity(
    samples: Split, real: Split, *, extractor: str, seed: int = 0, isc_splits: int = ISC_SPLITS
) -> Mapping[str, float]:
    """Inception score of `samples`, and FID, KID, precision, recall against `real`."""
    scores = torch_fidelity.calculate_metrics(
        input1=Images(samples),
        input2=Images(real),
        cuda=False,
        isc=True,
        fid=True,
        kid=True,
        prc=True,
        feature_extractor=extractor,
        isc_splits=isc_splits,
        kid_subset_size=min(1000, len(samples), len(real)),
        rng_seed=seed,
        cache=False,
        save_cpu_ram=True,  # no worker processes
        verbose=False,
    )
    return {name: float(scores[key]) for name, key in NAMES.items()}

"""The CNN that judges samples: as reference (trained on real) and downstream (on synthetic)."""

import pytorch_lightning as pl
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, MultiStepLR
from torchmetrics.functional.classification import multiclass_accuracy

from triptych.config.data import DataConfig
from triptych.config.private import ClassifierConfig
from triptych.data.prepared import Split

FEATURES = 64
NOT_COVERED = "evaluation on private data, not covered by epsilon"  # beside every score

Images = UInt8[Tensor, "batch channels height width"]


class Classifier(pl.LightningModule):
    """LeNet-like: two convolutions with pooling, one hidden layer whose output serves FID."""

    def __init__(self, config: ClassifierConfig, data: DataConfig) -> None:
        super().__init__()
        self.config, self.classes = config, data.classes
        width = config.width
        self.body = nn.Sequential(
            nn.Conv2d(data.channels, width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(2 * width * (data.image_size // 4) ** 2, FEATURES),
            nn.ReLU(),
        )
        self.head = nn.Linear(FEATURES, data.classes)

    def features(self, images: Images) -> Float[Tensor, "batch features"]:
        """Activations of the hidden layer."""
        return self.body(images.float() / 255)

    def forward(self, images: Images) -> Float[Tensor, "batch classes"]:
        return self.head(self.features(images))

    def configure_optimizers(self) -> tuple[list[Optimizer], list[LRScheduler]]:
        settings = self.config
        rate, decay = settings.learning_rate, settings.weight_decay
        if settings.optimizer == "sgd":
            optimizer = torch.optim.SGD(self.parameters(), rate, momentum=0.9, weight_decay=decay)
        else:
            optimizer = torch.optim.Adam(self.parameters(), rate, weight_decay=decay)
        milestones = [] if settings.decay_epoch is None else [settings.decay_epoch]
        return [optimizer], [MultiStepLR(optimizer, milestones, gamma=0.1)]

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        loss = F.cross_entropy(self(images), labels)
        self.log("loss", loss, prog_bar=True)
        return loss


@torch.inference_mode()
def predict(classifier: Classifier, split: Split, *, batch_size: int = 1000) -> Tensor:
    """Predicted classes [n], on the CPU."""
    classifier.eval()
    images = torch.from_numpy(split.images)
    return torch.cat([classifier(chunk).argmax(1) for chunk in images.split(batch_size)])


def accuracy(classifier: Classifier, split: Split) -> float:
    """Share of right predictions."""
    return float((predict(classifier, split) == torch.from_numpy(split.labels)).float().mean())


def class_accuracies(classifier: Classifier, split: Split) -> Float[Tensor, " classes"]:
    """Share of right predictions among the images of each class."""
    labels = torch.from_numpy(split.labels)
    return multiclass_accuracy(predict(classifier, split), labels, classifier.classes, average="none")

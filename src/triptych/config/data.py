"""Schema of the data sets."""

from dataclasses import dataclass

from triptych.config.checks import MISSING, choice, positive, require

MAX_IMAGES = 10**8
NAMES = ("digits", "mnist", "fashion_mnist", "cifar10_jpeg", "speech_commands", "image_folder")


@dataclass
class DataConfig:
    """The data set: a private training split and a test split of labelled images."""

    name: str = MISSING
    image_size: int = MISSING
    channels: int = 1
    classes: int = 10
    train_size: int = MISSING  # below the data set's own: a part of it, drawn by `split_seed`
    test_size: int = MISSING
    split_seed: int = 0
    folder: str | None = None  # of image_folder: {train,test}/<class>/<picture>

    def check(self) -> None:
        choice("data.name", self.name, NAMES)
        require(
            (self.folder is not None) == (self.name == "image_folder"),
            f"data.folder={self.folder} and data.name={self.name}: a folder belongs to image_folder, and "
            "image_folder needs one",
        )
        for key in ("image_size", "channels", "classes", "train_size", "test_size"):
            positive(f"data.{key}", getattr(self, key))
        for key in ("train_size", "test_size"):
            value = getattr(self, key)
            require(value <= MAX_IMAGES, f"data.{key}={value} is above the limit of {MAX_IMAGES}")
        require(self.split_seed >= 0, f"data.split_seed={self.split_seed} must not be negative")

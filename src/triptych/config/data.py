"""Schema of the data sets."""

from dataclasses import dataclass

from triptych.config.checks import MISSING, choice, positive, require

MAX_IMAGES = 10**8
IN_FOLDERS = ("image_folder", "leaf")
NAMES = ("digits", "mnist", "fashion_mnist", "cifar10_jpeg", "speech_commands", "femnist_digits", *IN_FOLDERS)


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
    folder: str | None = None  # of image_folder: {train,test}/<class>/<picture>; of leaf: {train,test}/*.json
    clients: int | None = None  # that the data set comes with; null: its records have no owners

    def check(self) -> None:
        choice("data.name", self.name, NAMES)
        require(
            (self.folder is not None) == (self.name in IN_FOLDERS),
            f"data.folder={self.folder} and data.name={self.name}: a folder belongs to "
            f"{' and '.join(IN_FOLDERS)}, and they need one",
        )
        for key in ("image_size", "channels", "classes", "train_size", "test_size"):
            positive(f"data.{key}", getattr(self, key))
        for key in ("train_size", "test_size"):
            value = getattr(self, key)
            require(value <= MAX_IMAGES, f"data.{key}={value} is above the limit of {MAX_IMAGES}")
        require(
            self.clients is None or self.clients > 0, f"data.clients={self.clients} must be above 0, or null"
        )
        require(self.split_seed >= 0, f"data.split_seed={self.split_seed} must not be negative")

"""The data sets by name: each a function from a raw folder to train and test splits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.config.data import DataConfig
from triptych.data.download import fetch
from triptych.data.idx import read_idx
from triptych.data.leaf import load_femnist_digits, load_leaf
from triptych.data.pictures import load_cifar10_jpeg, load_image_folder
from triptych.data.prepared import Split
from triptych.data.speech import load_speech_commands
from triptych.errors import DataError

Source = tuple[dict[str, Split], dict[str, Any]]

MNIST_URLS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)
FASHION_URLS = ("https://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",)
CHECKSUMS = {
    "mnist": {
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    },
    "fashion-mnist": {
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
    },
}


def load_digits(config: DataConfig, raw: Path) -> Source:
    """scikit-learn's bundled 8x8 digits (1,797 of UCI optdigits' test set), split once by `split_seed`."""
    from sklearn.datasets import load_digits as bundled

    pixels, labels = bundled(return_X_y=True)  # pixels are 0 to 16
    images = np.rint(np.asarray(pixels) * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    order = np.random.default_rng(config.split_seed).permutation(len(images))
    everything = Split(images, np.asarray(labels, np.int64)).take(order)
    splits = {
        "train": everything.take(slice(config.train_size)),
        "test": everything.take(slice(-config.test_size, None)),
    }
    if config.train_size + config.test_size > len(everything):
        raise DataError(
            f"data.train_size={config.train_size} and data.test_size={config.test_size} exceed "
            f"the {len(everything)} digits"
        )
    card = {
        "source": "scikit-learn load_digits (UCI ML hand-written digits, E. Alpaydin, C. Kaynak, 1998)",
        "licence": "CC BY 4.0",
    }
    return splits, card


def load_mnist(config: DataConfig, raw: Path) -> Source:
    """MNIST, 60,000 and 10,000 images (LeCun, Cortes, Burges)."""
    splits = _idx_splits("mnist", raw, MNIST_URLS)
    return splits, {"source": "MNIST (Y. LeCun, C. Cortes, C. Burges)", "licence": "CC BY-SA 3.0"}


def load_fashion_mnist(config: DataConfig, raw: Path) -> Source:
    """Fashion-MNIST, 60,000 and 10,000 images (Xiao, Rasul, Vollgraf 2017)."""
    splits = _idx_splits("fashion-mnist", raw, FASHION_URLS)
    return splits, {"source": "Fashion-MNIST (Zalando Research)", "licence": "MIT"}


def _idx_splits(dataset: str, raw: Path, addresses: tuple[str, ...]) -> dict[str, Split]:
    def read(name: str) -> NDArray[np.uint8]:
        checksum = CHECKSUMS[dataset][name]
        urls = tuple(address + name for address in addresses)
        return read_idx(fetch(dataset, name, checksum=checksum, urls=urls, folder=raw / dataset))

    def split(prefix: str) -> Split:
        images = read(f"{prefix}-images-idx3-ubyte.gz")
        return Split(images[:, None], read(f"{prefix}-labels-idx1-ubyte.gz").astype(np.int64))

    return {"train": split("train"), "test": split("t10k")}


SOURCES: dict[str, Callable[[DataConfig, Path], Source]] = {
    "digits": load_digits,
    "mnist": load_mnist,
    "fashion_mnist": load_fashion_mnist,
    "cifar10_jpeg": load_cifar10_jpeg,
    "speech_commands": load_speech_commands,
    "image_folder": load_image_folder,
    "femnist_digits": load_femnist_digits,
    "leaf": load_leaf,
}


def load_source(config: DataConfig, raw: Path) -> Source:
    """Load the configured data set and check that it is what the config says.

    Of splits larger than configured, a part drawn by `data.split_seed` is kept.
    """
    whole, card = SOURCES[config.name](config, raw)
    splits = {
        "train": whole["train"].sample(config.train_size, seed=config.split_seed),
        "test": whole["test"].sample(config.test_size, seed=config.split_seed),
    }
    for name, size in (("train", config.train_size), ("test", config.test_size)):
        shape = (size, config.channels, config.image_size, config.image_size)
        if splits[name].images.shape != shape:
            raise DataError(
                f"{config.name}: the {name} split is {splits[name].images.shape}, conf/data says {shape}"
            )
    return splits, {"name": config.name, "classes": config.classes, **card}

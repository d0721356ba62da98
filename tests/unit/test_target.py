"""The chain's two domains: what self-training may see, and what it may not."""

import numpy as np
import pytest
from safetensors.numpy import load

from triptych.data.prepared import Split, read_split
from triptych.data.shift import ColourLaw, colour_bin
from triptych.data.target import Sizes, coloured, elsewhere, write_domains
from triptych.errors import DataError

LAW = ColourLaw(10, 1.0, 3)


def split(size: int, seed: int) -> Split:
    """Images that can be told apart, in label order as samples come."""
    images = np.random.default_rng(seed).integers(1, 255, (size, 1, 4, 4)).astype(np.uint8)
    return Split(images, np.repeat(np.arange(10), size // 10))


def grey(images: np.ndarray) -> list[bytes]:
    return [image.tobytes() for image in images.sum(axis=1, dtype=np.uint8)]


def domains(**sizes: int):
    return coloured(
        split(200, 0), split(100, 1), LAW, Sizes(**{"source_test": 50, "unlabelled": 40, **sizes})
    )


def test_source_is_all_samples_once_in_random_order():
    """The search holds out the last ones: in label order it would judge by one class."""
    made = domains()
    train, test = made.source["train"], made.source["test"]
    assert sorted(grey(train.images) + grey(test.images)) == sorted(grey(split(200, 0).images))
    assert len(set(train.labels[-30:])) > 5


def test_colour_follows_the_label_in_the_source_alone():
    """The shift that self-training is there for; p = 1 here."""
    made = domains()
    for part in made.source.values():
        share = part.images[:, 0].sum(axis=(1, 2)) / part.images.sum(axis=(1, 2, 3))
        assert np.mean(colour_bin(share.astype(np.float32), 10) == part.labels) > 0.9
    target = made.target_test
    share = target.images[:, 0].sum(axis=(1, 2)) / target.images.sum(axis=(1, 2, 3))
    assert np.mean(colour_bin(share.astype(np.float32), 10) == target.labels) < 0.4


def test_target_is_held_out_and_its_test_images_are_not_adapted_to():
    """Accuracy on images that were trained on would be no accuracy."""
    made = domains()
    held_out = grey(split(100, 1).images)
    assert grey(made.unlabelled) == held_out[:40]
    assert grey(made.target_test.images) == held_out[40:]


def test_file_for_self_training_holds_no_labels(tmp_path):
    """What is not there cannot be read by mistake."""
    write_domains(tmp_path, domains(), classes=10, cards=({"name": "s"}, {"name": "t"}))
    assert set(load((tmp_path / "target/unlabelled.safetensors").read_bytes())) == {"images"}
    assert len(read_split(tmp_path / "target", "test")) == 60
    assert len(read_split(tmp_path / "source", "train")) == 150


def test_another_data_set_is_the_target_as_it_is():
    """MNIST's samples, USPS's images: nothing is painted, and its test split is not adapted to."""
    target = {"train": split(100, 1), "test": split(30, 2)}
    made = elsewhere(split(200, 0), target, Sizes(source_test=50, unlabelled=40, source=120), seed=3)
    assert [len(made.source[name]) for name in ("train", "test")] == [70, 50]
    assert set(grey(made.source["train"].images)) <= set(grey(split(200, 0).images))
    assert len(set(made.source["train"].labels)) == 10, "fewer samples, still of every class"
    np.testing.assert_array_equal(made.unlabelled, target["train"].images[:40])
    assert made.target_test is target["test"]


@pytest.mark.parametrize(("key", "size"), [("source_test", 200), ("unlabelled", 100)])
def test_sizes_that_leave_nothing_are_refused(key: str, size: int):
    """The message names the key and what there is."""
    with pytest.raises(DataError, match=rf"hinge\.{key}(_size)?={size} leaves nothing of {size}"):
        domains(**{key: size})

"""Networks of several repetitions: start, storage, prediction."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from triptych.config.robust import RobustConfig
from triptych.errors import DataError
from triptych.robust.networks import Classifier, build, load_networks, predict, save_classifier, save_networks

SHAPE = (2, 4, 4)


def two(seed: int = 0, hidden: tuple[int, ...] = (8,)) -> list[Classifier]:
    return build(SHAPE, 10, RobustConfig(hidden=list(hidden), seeds=2), seed=seed)


def flat(network: nn.Module) -> torch.Tensor:
    return torch.cat([value.flatten() for value in network.parameters()])


def test_the_papers_network_has_the_papers_size():
    """1568-128-64-10 on two channels of 28 by 28."""
    network = Classifier((2, 28, 28), [128, 64], 10)
    assert sum(p.numel() for p in network.parameters()) == 1569 * 128 + 129 * 64 + 65 * 10


def test_repetitions_start_from_different_weights_that_the_seed_determines():
    """Equal starts would hide the spread; unseeded ones would not be repeatable."""
    (a, b), (again, _), (other, _) = two(), two(), two(seed=1)
    assert torch.equal(flat(a), flat(again))
    assert not torch.equal(flat(a), flat(b))
    assert not torch.equal(flat(a), flat(other))


def test_building_leaves_the_global_random_state_alone():
    """The order of construction must not change what comes after it."""
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    two()
    assert torch.equal(torch.rand(1), expected)


def test_networks_come_back_as_they_were_saved(tmp_path: Path):
    """The file is all that adaptation knows of the source."""
    saved, loaded = two(), two(seed=1)
    save_networks(tmp_path, saved, name="classifiers")
    load_networks(tmp_path / "classifiers.safetensors", loaded)
    for a, b in zip(saved, loaded, strict=True):
        assert torch.equal(flat(a), flat(b))


def test_classifier_file_holds_plain_names(tmp_path: Path):
    """Whoever deploys the first classifier need not know of repetitions."""
    network = two()[0]
    save_classifier(tmp_path, network)
    assert set(load_file(tmp_path / "classifier.safetensors")) == set(network.state_dict())


@pytest.mark.parametrize("networks", [two(hidden=(9,)), [*two(), *two()]], ids=["widths", "repetitions"])
def test_weights_that_do_not_fit_name_the_keys_to_look_at(tmp_path: Path, networks: list[Classifier]):
    """Editing `robust.hidden` without training again."""
    save_networks(tmp_path, two(), name="classifiers")
    with pytest.raises(DataError, match=r"does not fit robust\.filters, hidden, batch_norm and seeds"):
        load_networks(tmp_path / "classifiers.safetensors", networks)


def test_missing_weights_name_the_command(tmp_path: Path):
    """Adapting before training."""
    with pytest.raises(DataError, match="does not exist; run the stage that writes it"):
        load_networks(tmp_path / "classifiers.safetensors", two())


@pytest.mark.parametrize("training", [True, False])
def test_prediction_restores_the_mode_and_keeps_no_gradient(training: bool):
    """Pseudo-labels are made in the middle of training."""
    network = nn.Sequential(two()[0], nn.Dropout(0.5)).train(training)
    images = torch.randint(0, 256, (5000, *SHAPE), dtype=torch.uint8)
    logits = predict(network, images)
    assert network.training is training
    assert not logits.requires_grad
    torch.testing.assert_close(logits, network[0](images))  # no dropout, pieces in order


def test_convolutions_halve_the_image_and_keep_the_papers_layers():
    """Their parameters, counted by hand: 5x5 from two channels, then 3x3, then 7 x 7 x 8 features."""
    network = Classifier((2, 28, 28), [6], 10, filters=[4, 8])
    assert network(torch.zeros(3, 2, 28, 28, dtype=torch.uint8)).shape == (3, 10)
    expected = (25 * 2 + 1) * 4 + (9 * 4 + 1) * 8 + (49 * 8 + 1) * 6 + 7 * 10
    assert sum(p.numel() for p in network.parameters()) == expected

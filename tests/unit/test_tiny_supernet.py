import pytest
import torch
from subnets import EVEN, SPACE, images, supernet

from triptych.config.tiny import SupernetConfig
from triptych.tiny.module import SupernetModule
from triptych.tiny.recalibrate import recalibrate, subnet_accuracy

CONFIG = SupernetConfig(
    largest_epochs=1,
    epochs=1,
    subnets_per_step=3,
    batch_size=8,
    learning_rate=0.1,
    momentum=0.9,
    weight_decay=1e-4,
    validation_size=8,
)


def test_forward_remembers_nothing():
    """Other supernets depend on the last `set_active_subnet`; ours on its arguments alone."""
    network, x = supernet(SPACE), images(SPACE)
    with torch.no_grad():
        before = network(x, SPACE.smallest())
        network(x, SPACE.largest())
        assert torch.equal(network(x, SPACE.smallest()), before)
    assert not list(network.buffers())


def test_statistics_of_one_batch_are_those_of_the_batch():
    """Recalibrated on the images that it sees, evaluation equals training's normalization."""
    network, x = supernet(SPACE), images(SPACE)
    arch = SPACE.largest()
    with torch.no_grad():
        fixed = network(x, arch, recalibrate(network, [x], arch))
        torch.testing.assert_close(fixed, network(x, arch), rtol=1e-4, atol=1e-4)


def test_statistics_weigh_batches_by_their_images():
    """The last batch is small; counting it like a full one shifts every mean."""
    network = supernet(SPACE)
    a, b = images(SPACE, 12, seed=1), images(SPACE, 4, seed=2)
    arch = SPACE.smallest()
    together = recalibrate(network, [a, b], arch)["stem"]
    one, two = (recalibrate(network, [part], arch)["stem"] for part in (a, b))
    torch.testing.assert_close(together.mean, 0.75 * one.mean + 0.25 * two.mean)
    torch.testing.assert_close(together.variance, 0.75 * one.variance + 0.25 * two.variance)


def test_accuracy_with_fixed_statistics_does_not_depend_on_the_batch():
    """One test image alone must get the answer that it gets among others, as on the device."""
    network, x = supernet(EVEN), images(EVEN, 6)
    arch = EVEN.smallest()
    with torch.no_grad():
        labels = network(x, arch, recalibrate(network, [images(EVEN, 64, seed=1)], arch)).argmax(1)
    alone = [
        subnet_accuracy(network, arch, images(EVEN, 64, seed=1), x[i : i + 1], labels[i : i + 1])
        for i in range(6)
    ]
    assert alone == [1.0] * 6


def test_a_step_sums_the_gradients_of_its_subnets(monkeypatch: pytest.MonkeyPatch):
    """The paper sums; the mean would make the learning rate depend on the number of subnets."""
    network = supernet(EVEN)
    module = SupernetModule(network, CONFIG)
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    batch = [torch.randint(256, (8, 2, 16, 16), dtype=torch.uint8), torch.randint(5, (8,))]
    chosen = [EVEN.smallest(), EVEN.largest(), EVEN.largest()]
    monkeypatch.setattr(module, "draw", lambda: chosen)
    loss = module.training_step(batch, 0)
    parts = []
    for arch in chosen:
        monkeypatch.setattr(module, "draw", lambda arch=arch: [arch])
        parts.append(module.training_step(batch, 0))
    torch.testing.assert_close(loss, torch.stack(parts).sum())


def test_the_subnets_of_a_batch_follow_from_torchs_random_state():
    """A resumed run reseeds torch before each batch, and must draw the same subnets."""
    module = SupernetModule(supernet(SPACE), CONFIG)
    torch.manual_seed(3)
    first = module.draw()
    following = module.draw()
    torch.manual_seed(3)
    assert module.draw() == first != following
    assert len(first) == CONFIG.subnets_per_step


def test_the_first_phase_trains_the_largest_subnet_alone():
    """Channels are sorted by the weights of the largest subnet; others would blur the order."""
    assert SupernetModule(supernet(SPACE), CONFIG, largest=True).draw() == [SPACE.largest()]

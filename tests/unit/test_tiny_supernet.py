from dataclasses import replace

import pytest
import torch
from subnets import EVEN, SPACE, images, supernet

from triptych.config.tiny import SupernetConfig
from triptych.tiny.inputs import to_input
from triptych.tiny.module import SupernetModule
from triptych.tiny.recalibrate import Judge, recalibrate, subnet_accuracy
from triptych.tiny.schedule import schedule, shrink

CONFIG = SupernetConfig(
    schedule="tinynas",
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


def test_a_sure_right_answer_is_likelier_than_a_chance_one():
    """What the predictor learns from: by hand from the logits, and the accuracy from the same pass."""
    network, x, arch = supernet(EVEN), images(EVEN, 6), EVEN.smallest()
    calibration, labels = images(EVEN, 64, seed=1), torch.arange(6) % EVEN.classes
    with torch.no_grad():
        logits = network(x, arch, recalibrate(network, [calibration], arch))
    judge = Judge(network, calibration, x, labels)
    likelihood = (logits[range(6), labels] - logits.exp().sum(1).log()).mean().item()
    assert judge.likelihood(arch) == pytest.approx(likelihood, rel=1e-4)
    assert judge.accuracy(arch) == (logits.argmax(1) == labels).double().mean().item()


def test_a_step_sums_the_gradients_of_its_subnets(monkeypatch: pytest.MonkeyPatch):
    """The paper sums; the mean would make the learning rate depend on the number of subnets."""
    network = supernet(EVEN)
    module = SupernetModule(network, CONFIG, schedule(EVEN, CONFIG)[1])
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
    module = SupernetModule(supernet(SPACE), CONFIG, schedule(SPACE, CONFIG)[1])
    torch.manual_seed(3)
    first = module.draw()
    following = module.draw()
    torch.manual_seed(3)
    assert module.draw() == first != following
    assert len(first) == CONFIG.subnets_per_step


def test_the_first_phase_trains_the_largest_subnet_alone():
    """Channels are sorted by the weights of the largest subnet; others would blur the order."""
    module = SupernetModule(supernet(SPACE), CONFIG, schedule(SPACE, CONFIG)[0])
    assert module.draw() == [SPACE.largest()]


def test_what_subnets_share_is_run_once_with_the_same_result():
    """Stem and first block are the costliest layers; saving them must not change what is learned."""
    network, x = supernet(EVEN).double(), images(EVEN).double()
    archs = [EVEN.smallest(), EVEN.largest()]

    def gradients(logits: list[torch.Tensor]) -> list[torch.Tensor]:
        loss = torch.stack([each.square().sum() for each in logits]).sum()
        return list(torch.autograd.grad(loss, list(network.parameters()), allow_unused=True))

    together = gradients(network.forward_all(x, archs))
    for a, b in zip(together, gradients([network(x, arch) for arch in archs]), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("name", ["sandwich", "progressive"])
def test_a_teacher_changes_what_is_learned(name: str, monkeypatch: pytest.MonkeyPatch):
    """Distillation: the loss, written out by hand for one batch."""
    config = replace(CONFIG, schedule=name)
    network, teacher = supernet(EVEN), supernet(EVEN, seed=1)
    phase = schedule(EVEN, config)[-1]
    module = SupernetModule(network, config, phase, teacher)
    monkeypatch.setattr(module, "log", lambda *_, **__: None)
    archs = [EVEN.largest(), EVEN.smallest()]
    monkeypatch.setattr(module, "draw", lambda: archs)
    pixels, labels = torch.randint(256, (8, 2, 16, 16), dtype=torch.uint8), torch.randint(5, (8,))
    x = to_input(pixels, 16)
    large, small = (network(x, arch).log_softmax(1) for arch in archs)
    hard = [-each[range(8), labels].mean() for each in (large, small)]
    answers = (large if name == "sandwich" else teacher(x, EVEN.largest())).softmax(1).detach()
    soft = [-(answers * each).sum(1).mean() for each in (large, small)]
    expected = hard[0] + soft[1] if name == "sandwich" else sum(hard) + sum(soft)
    torch.testing.assert_close(module.training_step([pixels, labels], 0), expected)
    assert not any(name.startswith("teacher") for name, _ in module.named_parameters())


def test_a_sandwich_has_its_two_slices():
    """The bounds of accuracy are trained in every batch, or the rule is just random subnets."""
    config = replace(CONFIG, schedule="sandwich")
    module = SupernetModule(supernet(SPACE), config, schedule(SPACE, config)[1])
    drawn = module.draw()
    assert drawn[:2] == [SPACE.largest(), SPACE.smallest()]
    assert len(drawn) == config.subnets_per_step


def test_progressive_shrinking_frees_kernel_then_depth_then_width():
    """OFA's order; a width that is drawn before its channels are sorted keeps the wrong ones."""
    config = replace(CONFIG, schedule="progressive", subnets_per_step=4, epochs=410)
    phases = schedule(SPACE, config)
    names = [phase.name for phase in phases]
    assert names == ["largest", "kernel", "depth1", "depth2", "width2"]  # two ratios are one step
    assert [phase.subnets for phase in phases] == [1, 1, 2, 2, 4]
    choices = [
        (len(p.space.kernel_sizes), max(len(s.depths) for s in p.space.stages), len(p.space.expand_ratios))
        for p in phases
    ]
    assert choices == [(1, 1, 1), (3, 1, 1), (3, 2, 1), (3, 3, 1), (3, 3, 2)]
    assert [phase.sorts for phase in phases] == [False, False, False, False, True]
    assert [phase.taught for phase in phases] == [False, True, True, True, True]
    assert phases[-1].space == SPACE
    rates = [phase.learning_rate / config.learning_rate for phase in phases]
    assert rates == pytest.approx([1, 1, 1 / 12, 1 / 4, 1 / 4])
    assert sum(phase.epochs for phase in phases[1:]) == pytest.approx(config.epochs, abs=3)


def test_the_fixed_and_the_last_choice_need_no_phase():
    """A space of one depth and one width is learned by its kernels alone."""
    fixed = shrink(SPACE, 0, 1, 1)
    names = [phase.name for phase in schedule(fixed, replace(CONFIG, schedule="progressive"))]
    assert names == ["largest", "kernel"]

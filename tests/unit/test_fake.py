import numpy as np
import pytest
import torch
import torch.nn.functional as F
from subnets import EVEN, images, supernet

from triptych.engine.reference import run
from triptych.graph.ops import Graph
from triptych.quantization.affine import dequantize
from triptych.quantization.calibrate import calibrate, run_float
from triptych.quantization.fake import FakeQuantized, weight_on_grid
from triptych.quantization.lower import lower
from triptych.tiny.export import export
from triptych.tiny.inputs import PIXEL_RANGE, to_int8
from triptych.tiny.recalibrate import recalibrate

NETWORK = export(
    supernet(EVEN), EVEN.largest(), recalibrate(supernet(EVEN), [images(EVEN, 64)], EVEN.largest())
)
RANGES = {**calibrate(NETWORK, [images(EVEN, 64)]), "input": PIXEL_RANGE}
PIXELS = torch.round(images(EVEN, 64, seed=5) * 255) / 255


def logits_of(integer: Graph) -> tuple[np.ndarray, float]:
    """What the integer network answers, and the step of its grid."""
    grid = integer[integer.output].quantization
    assert grid
    return dequantize(run(integer, to_int8(PIXELS).numpy()), grid), grid.scale


@pytest.mark.parametrize(("bits", "least", "steps"), [(8, 0.6, 4.5), (4, 0.95, 9)])
def test_training_sees_the_answers_of_the_integer_network(bits: int, least: float, steps: float):
    """The integer reference, which the firmware equals in every byte, is what is trained.

    Values near half a step may round either way; another grid gives about 0.
    """
    integer, step = logits_of(lower(NETWORK, RANGES, weight_bits=bits))
    seen = FakeQuantized(NETWORK, RANGES, weight_bits=bits)(PIXELS).detach().numpy()
    exact = run_float(NETWORK, PIXELS).numpy()
    alike = np.corrcoef((seen - exact).ravel(), (integer - exact).ravel())[0, 1]
    assert alike > least  # 0.78 of 8 bits
    assert np.abs(seen - integer).max() < steps * step


def test_training_on_brings_the_integer_network_closer():
    """Towards the answers of the float network: the int8 network must err less after than before."""
    network, answers = FakeQuantized(NETWORK, RANGES), run_float(NETWORK, PIXELS)
    optimizer = torch.optim.SGD(network.parameters(), lr=5e-3, momentum=0.9)

    def error() -> float:
        found, _ = logits_of(lower(network.trained(), RANGES))
        return float(np.mean((found - answers.numpy()) ** 2))

    before = error()
    for _ in range(40):
        optimizer.zero_grad()
        F.mse_loss(network(PIXELS), answers).backward()
        optimizer.step()
    assert error() < 0.9 * before  # the rest is the noise of 8 bits


def test_what_was_not_trained_comes_back_as_it_was():
    """No epoch of training must mean plain post-training quantization."""
    same = FakeQuantized(NETWORK, RANGES).trained()
    for a, b in zip(same.weighted(), NETWORK.weighted(), strict=True):
        assert np.array_equal(a.weight, b.weight)
        assert np.array_equal(a.bias, b.bias)


@pytest.mark.parametrize("axis", [None, 0, 3])
def test_a_weight_moves_by_half_a_step_at_most_and_keeps_its_gradient(axis: int | None):
    """The scale must be that of the channel's axis, as `lower` has it."""
    weight = torch.randn(3, 5, 5, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    rounded = weight_on_grid(weight, axis)
    axes = tuple(range(4)) if axis is None else tuple(i for i in range(4) if i != axis)
    step = weight.detach().abs().amax(axes, keepdim=True) / 127
    assert ((rounded - weight).abs() <= 0.5001 * step).all()
    rounded.sum().backward()
    assert weight.grad is not None
    assert (weight.grad == 1).all()

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from triptych.quantization.affine import (
    HIGHEST,
    activation_quantization,
    dequantize,
    quantize,
    quantize_bias,
    quantize_weight,
    weight_scale,
)

reals = st.floats(-1e4, 1e4, width=32)
weights = arrays(np.float32, (4, 3, 3, 2), elements=st.floats(-8, 8, width=32))
biases = arrays(np.float32, 4, elements=st.floats(-100, 100, width=32))
scales = st.floats(2.0**-12, 2.0**4, width=32)


@given(reals, reals, arrays(np.float64, 20, elements=st.floats(0, 1)))
def test_a_value_in_range_moves_by_at_most_half_a_step(one: float, two: float, at: np.ndarray):
    """Every later bound builds on this error; zero must be in the range."""
    low, high = min(one, two, 0.0), max(one, two, 0.0)
    grid = activation_quantization(low, high)
    values = low + at * (high - low)
    # half a step by rounding, and half more at the ends where the zero point was rounded
    inside = np.clip(values, *dequantize(np.array([-128, 127]), grid))
    error = np.abs(dequantize(quantize(inside, grid), grid) - inside)
    assert (error <= grid.scale * 0.5 * (1 + 1e-6)).all()
    assert (np.abs(inside - values) <= grid.scale * 0.5 * (1 + 1e-3)).all()


@given(reals, reals)
def test_zero_is_exact(one: float, two: float):
    """SAME padding writes the zero point; if that is not 0.0, every border is wrong."""
    grid = activation_quantization(min(one, two), max(one, two))
    assert dequantize(quantize(np.zeros(1), grid), grid) == 0
    assert -128 <= grid.zero_point <= 127
    assert grid.scale == np.float32(grid.scale)


@given(weights, biases, scales, scales)
def test_weights_move_by_at_most_half_a_step_and_biases_fit(
    weight: np.ndarray, bias: np.ndarray, before: float, after: float
):
    """Dead channels, with no weights and a bias, must neither overflow nor lose their shift."""
    scale = weight_scale(weight, bias, input_scale=before, output_scale=after)
    per_channel = scale.reshape(-1, 1, 1, 1).astype(np.float64)
    integers = quantize_weight(weight, per_channel.astype(np.float32))
    assert (np.abs(integers * per_channel - weight) <= per_channel * 0.5 * (1 + 1e-5)).all()
    assert np.abs(integers.astype(int)).max(initial=0) <= HIGHEST
    exact = bias / (before * scale.astype(np.float64))
    assert (np.abs(quantize_bias(bias, input_scale=before, scale=scale) - exact) <= 0.5).all()
    assert (before * scale.astype(np.float64) / after >= 2.0**-31).all()


def test_pixels_have_the_grid_of_their_bytes():
    """The device's input is the byte minus 128, with no rounding at all."""
    grid = activation_quantization(0.0, 1.0)
    assert (grid.scale, grid.zero_point) == (float(np.float32(1 / 255)), -128)
    np.testing.assert_array_equal(quantize(np.arange(256) / 255, grid), np.arange(256) - 128)

import numpy as np
import torch
from subnets import EVEN, images, supernet

from triptych.engine.oracle import run_litert
from triptych.engine.reference import run
from triptych.graph.ops import AveragePool2D, FullyConnected, Graph, Tensor, Weighted
from triptych.graph.tflite import write_tflite
from triptych.quantization.affine import dequantize
from triptych.quantization.calibrate import activations, calibrate, run_float
from triptych.quantization.lower import lower
from triptych.tiny.export import export
from triptych.tiny.inputs import PIXEL_RANGE, to_int8
from triptych.tiny.recalibrate import recalibrate


def float_network() -> Graph:
    network, arch = supernet(EVEN), EVEN.largest()
    return export(network, arch, recalibrate(network, [images(EVEN, 64)], arch))


NETWORK = float_network()
RANGES = {**calibrate(NETWORK, [images(EVEN, 64)]), "input": PIXEL_RANGE}


def test_ranges_cover_every_value_of_every_batch():
    """A range of the last batch alone clips what the others hold."""
    batches = [images(EVEN, 4, seed=seed) for seed in range(3)]
    ranges = calibrate(NETWORK, batches)
    for batch in batches:
        for name, value in activations(NETWORK, batch):
            low, high = ranges[name]
            assert low <= value.min().item()
            assert value.max().item() <= high


def test_average_pooling_keeps_the_grid_of_its_input():
    """TFLite's specification; its kernels do not rescale, so another grid would be ignored."""
    integer = lower(NETWORK, RANGES)
    pool = next(op for op in integer.ops if isinstance(op, AveragePool2D))
    assert integer[pool.output].quantization == integer[pool.input].quantization


def test_every_weight_is_int8_per_channel_and_every_bias_int32():
    """The contract with the engine; the fully connected layer is per tensor."""
    integer = lower(NETWORK, RANGES)
    for op in integer.weighted():
        assert (op.weight.dtype, op.bias.dtype) == (np.int8, np.int32)
        assert op.weight_scale is not None
        assert op.weight_scale.shape == ((1,) if isinstance(op, FullyConnected) else op.bias.shape)
        original = next(o for o in NETWORK.weighted() if o.name == op.name)
        assert op.weight.shape == original.weight.shape
    assert all(tensor.quantization for tensor in integer.tensors.values())


def test_weights_of_4_bits_are_per_channel_and_run_in_litert():
    """15 levels a channel; LiteRT's reference kernels are the judge of the packed file."""
    integer = lower(NETWORK, RANGES, weight_bits=4)
    for op, original in zip(integer.weighted(), NETWORK.weighted(), strict=True):
        assert op.weight_bits == 4
        assert np.abs(op.weight).max() == 7
        assert op.weight_scale is not None
        assert op.weight_scale.shape == op.bias.shape
        assert (np.abs(op.weight * scale_of(op) - original.weight) <= scale_of(op) * 0.5001).all()
    inputs = to_int8(images(EVEN, 16, seed=5)).numpy()
    content = write_tflite(integer)
    np.testing.assert_array_equal(run_litert(content, inputs), run(integer, inputs))
    assert len(content) < 0.85 * len(write_tflite(lower(NETWORK, RANGES)))


def test_the_int8_network_computes_what_the_float_network_does():
    """Noise of 8 bits, not another function: far less than the spread of the logits."""
    integer = lower(NETWORK, RANGES)
    x = torch.round(images(EVEN, 64, seed=5) * 255) / 255
    expected = run_float(NETWORK, x).numpy()
    grid = integer[integer.output].quantization
    assert grid
    actual = dequantize(run(integer, to_int8(x).numpy()), grid)
    assert np.sqrt(np.mean((actual - expected) ** 2)) < 0.1 * expected.std()


def test_weights_are_the_nearest_integers_of_their_channel():
    """A depthwise weight has its channels last; scales along another axis are wrong and go unnoticed."""
    integer = lower(NETWORK, RANGES)
    for op, original in zip(integer.weighted(), NETWORK.weighted(), strict=True):
        scale = scale_of(op)
        assert (np.abs(op.weight * scale - original.weight) <= scale * 0.5001).all()


def scale_of(op: Weighted) -> np.ndarray:
    assert op.weight_scale is not None
    last = op.weight.shape[0] == 1 and op.weight.ndim == 4 and op.weight_scale.size > 1
    return op.weight_scale if last else op.weight_scale.reshape(-1, *[1] * (op.weight.ndim - 1))


def test_border_windows_average_what_lies_inside():
    """TFLite divides by the pixels inside, torch by default by the window."""
    pool = AveragePool2D("pool", "x", "y", (2, 2), (2, 2), "same")
    graph = Graph("x", "y", {"x": Tensor("x", (1, 3, 3, 1)), "y": Tensor("y", (1, 2, 2, 1))}, (pool,))
    x = torch.arange(9.0).reshape(1, 1, 3, 3)
    assert run_float(graph, x).flatten().tolist() == [2.0, 3.5, 6.5, 8.0]


def test_the_fully_connected_layer_reads_channels_last():
    """Its weight is in the order of the device's memory: height, width, channels."""
    weight = np.eye(8, dtype=np.float32)
    op = FullyConnected("fc", "x", "y", weight, np.zeros(8, np.float32))
    graph = Graph("x", "y", {"x": Tensor("x", (1, 2, 2, 2)), "y": Tensor("y", (1, 8))}, (op,))
    x = torch.arange(8.0).reshape(1, 2, 2, 2)
    assert run_float(graph, x)[0].tolist() == [0, 4, 1, 5, 2, 6, 3, 7]

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from subnets import EVEN, SPACE, archs, images, supernet

from triptych.graph.ops import Graph, inputs_of
from triptych.graph.validate import validate
from triptych.quantization.calibrate import run_float
from triptych.tiny.arch import ArchConfig, SearchSpace
from triptych.tiny.elastic import elastic_conv, sort_order
from triptych.tiny.export import export, shape_graph
from triptych.tiny.recalibrate import recalibrate
from triptych.tiny.topology import Layer

subnets = st.sampled_from([SPACE, EVEN]).flatmap(lambda space: archs(space).map(lambda arch: (space, arch)))
NETWORKS = {space.resolution: supernet(space) for space in (SPACE, EVEN)}


@settings(max_examples=40, deadline=None)
@given(subnets)
def test_the_exported_network_is_the_subnet(subnet: tuple[SearchSpace, ArchConfig]):
    """What is deployed must be what was searched: crops, folding, padding, residuals and all."""
    space, arch = subnet
    network = NETWORKS[space.resolution]
    statistics = recalibrate(network, [images(space, seed=1)], arch)
    x = images(space)
    exported = validate(export(network, arch, statistics))
    with torch.no_grad():
        expected = network(x, arch, statistics)
    torch.testing.assert_close(run_float(exported, x), expected, rtol=1e-4, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(subnets)
def test_costing_sees_the_network_that_is_exported(subnet: tuple[SearchSpace, ArchConfig]):
    """The search's predictions are worth nothing if they are about another graph."""
    space, arch = subnet
    network = NETWORKS[space.resolution]
    real = export(network, arch, recalibrate(network, [images(space)], arch))
    shapes = shape_graph(space, arch)
    assert outline(shapes) == outline(real)
    assert shapes.tensors == real.tensors


def outline(graph: Graph) -> list[tuple]:
    weights = [(op.weight.shape, op.bias.shape) for op in graph.weighted()]
    return [(type(op), op.name, inputs_of(op), op.output) for op in graph.ops] + weights


@settings(max_examples=20, deadline=None)
@given(archs(SPACE))
def test_a_subnet_reads_only_its_part_of_the_weights(arch: ArchConfig):
    """Weights outside the crop get no gradient: a subnet's step cannot spoil what it does not use."""
    network = supernet(SPACE)
    network(images(SPACE), arch).square().sum().backward()
    used = sum(int((p.grad != 0).sum()) for p in network.parameters() if p.grad is not None)
    graph = shape_graph(SPACE, arch)
    gains = sum(op.bias.size for op in graph.weighted()) - SPACE.classes
    assert 0 < used <= sum(op.weight.size + op.bias.size for op in graph.weighted()) + gains


@pytest.mark.parametrize("space", [SPACE, EVEN])
def test_sorting_channels_keeps_the_largest_subnet(space: SearchSpace):
    """Sorting is a permutation; if it is not consistent in all three layers, training starts anew."""
    network = supernet(space)
    x = images(space)
    with torch.no_grad():
        before = network(x, space.largest())
        smallest = network(x, space.smallest())
        network.sort_channels()
        torch.testing.assert_close(network(x, space.largest()), before, rtol=1e-4, atol=1e-4)
        assert not torch.allclose(network(x, space.smallest()), smallest, rtol=1e-2)
    for name in ("stage0.block0", "stage1.block2"):
        importance = network.layer(f"{name}.project").weight.abs().sum(dim=(0, 2, 3))
        assert torch.equal(importance, importance.sort(descending=True).values)


def test_equal_channels_keep_their_order():
    """Ties broken at random would make the result depend on the machine."""
    assert sort_order(torch.tensor([1.0, 3, 1, 3]).reshape(1, 4, 1, 1)).tolist() == [1, 3, 0, 2]


@given(st.integers(1, 20), st.sampled_from([1, 2, 3]))
def test_cropped_kernels_look_at_the_same_place(size: int, stride: int):
    """A smaller kernel shares the centre weights, so the centre must fall on the same pixels."""
    x = torch.arange(1.0, size + 1).reshape(1, 1, 1, size).expand(1, 1, size, size)
    largest = torch.zeros(1, 1, 7, 7)
    largest[..., 3, 3] = 1
    rows = []
    for kernel in (3, 5, 7):
        layer = Layer("x", "depthwise", 1, 1, kernel, stride)
        rows.append(elastic_conv(x, largest, layer)[0, 0, 0])
    np.testing.assert_array_equal(rows[0], rows[1])
    np.testing.assert_array_equal(rows[0], rows[2])
    assert rows[0].any()

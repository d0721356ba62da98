import torch
from hypothesis import given, settings
from subnets import SPACE, archs, images, supernet
from torch.utils.flop_counter import FlopCounterMode

from triptych.tiny.arch import ArchConfig
from triptych.tiny.cost import subnet_cost


@settings(max_examples=25, deadline=None)
@given(archs(SPACE))
def test_macs_equal_torchs_count_of_the_forward_pass(arch: ArchConfig):
    """Counted from what torch executes, not from our graph; a multiply-accumulate is two FLOPs."""
    network = supernet(SPACE)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(images(SPACE, 1), arch)
    assert 2 * subnet_cost(SPACE, arch).macs == counter.get_total_flops()

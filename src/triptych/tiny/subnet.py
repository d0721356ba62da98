"""One subnet as an ordinary network: what other methods train further."""

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor, nn

from triptych.tiny.arch import ArchConfig
from triptych.tiny.inputs import to_input
from triptych.tiny.supernet import Supernet


class Subnet(nn.Module):
    """The subnet `arch` of `supernet`, from pixels to logits; training it changes the shared weights.

    Every batch is normalised by itself, in training and evaluation: source and
    target pass separately, so each has its own statistics. Deployment measures
    them on the target (`recalibrate`).
    """

    def __init__(self, supernet: Supernet, arch: ArchConfig) -> None:
        super().__init__()
        self.supernet, self.arch = supernet, arch

    def forward(self, images: UInt8[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Logits of uint8 pixels of any size."""
        return self.supernet(to_input(images, self.supernet.space.resolution), self.arch)

    @torch.no_grad()
    def classify(self, images: UInt8[Tensor, "n channels height width"]) -> Int64[Tensor, " n"]:
        """The most probable classes, images normalised together in pieces of at most 1024."""
        return torch.cat([self(piece).argmax(dim=1) for piece in images.split(1024)])

"""What keeps drawings of one label apart, and each under its own label.

Neither touches a privacy argument: impostors never leave their shard, and the
repulsion is a function of the generator alone.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from triptych.config.private import RepulsionConfig
from triptych.private.ensemble import Images

NEIGHBOURS = 8  # other drawings that push each row
SOFTENING = 1e-3  # of the distance: two equal drawings do not push


def with_impostors(fake: Images, real: Images, count: int) -> Images:
    """The batch of fakes, the first `count` of each member replaced by real images under a wrong label.

    Row i becomes the member's real image i - 1, judged under the label of image i
    (the matching-aware discriminator of Reed et al. 2016, arXiv:1605.05396, section
    4.1). Where both happen to have one label it teaches nothing in the mean.
    """
    if count == 0:
        return fake
    return torch.cat([real.roll(1, dims=1)[:, :count], fake[:, count:]], dim=1)


def repulsion(
    rows: Float[Tensor, "rows channels height width"],
    others: Float[Tensor, "neighbours rows channels height width"],
) -> Float[Tensor, "rows channels height width"]:
    """The gradient, at each row, of minus its mean distance to other drawings of its label.

    It is the half of the energy distance that needs no data (Bellemare et al. 2017,
    arXiv:1705.10743, section 4): discriminators of few images each pull every
    drawing towards the middle of its class, this pushes it out again.
    """
    apart = rows - others
    distance = apart.flatten(2).norm(dim=2)[..., None, None, None]
    return -(apart / (distance + SOFTENING)).mean(0)


def repulsion_weight(settings: RepulsionConfig, step: int) -> float:
    """Zero up to `start`, then a straight line up to `weight` at `full`."""
    if settings.weight == 0 or step <= settings.start:
        return 0.0
    return settings.weight * min(1.0, (step - settings.start) / max(settings.full - settings.start, 1))

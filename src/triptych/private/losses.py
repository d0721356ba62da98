"""The Wasserstein losses of a conditional discriminator, one value a member.

Summing them over members trains all at once: the gradient of a member's
weights comes from its own loss alone.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from triptych.config.private import DiscriminatorConfig
from triptych.private.ensemble import Images, Labels
from triptych.private.lanes import inputs_alone

PerMember = Float[Tensor, " members"]
Mix = Float[Tensor, "members batch"]
Judge = Callable[[Images, Labels], Tensor]  # an ensemble or a part of it: one score an image


def gradient_penalty(judge: Judge, real: Images, fake: Images, labels: Labels, mix: Mix) -> PerMember:
    """Two-sided penalty on interpolates (Gulrajani et al. 2017, arXiv:1704.00028, eq. 3).

    `mix` is the share of the real image, uniform in [0, 1).
    """
    between = torch.lerp(fake, real, mix[..., None, None, None]).requires_grad_()
    with inputs_alone():
        (slope,) = torch.autograd.grad(judge(between, labels).sum(), between, create_graph=True)
    return (slope.flatten(2).norm(dim=2) - 1).square().mean(1)


def discriminator_loss(
    judge: Judge, real: Images, fake: Images, labels: Labels, *, mix: Mix, settings: DiscriminatorConfig
) -> tuple[PerMember, PerMember]:
    """Loss of each member, and its estimate of the Wasserstein distance.

    The drift penalty keeps the scores of real images near zero (Karras et al.
    2018, arXiv:1710.10196). `mix` is that of `gradient_penalty`.
    """
    judged_real, judged_fake = judge(real, labels), judge(fake, labels)
    distance = judged_real.mean(1) - judged_fake.mean(1)
    slope = settings.gradient_penalty * gradient_penalty(judge, real, fake, labels, mix)
    return slope + settings.drift * judged_real.square().mean(1) - distance, distance.detach()


def input_gradient(judge: Judge, fake: Images, labels: Labels) -> Images:
    """How each score falls with each pixel: the gradient of the generator's loss at its output."""
    leaf = fake.detach().requires_grad_()
    with inputs_alone():
        (slope,) = torch.autograd.grad(-judge(leaf, labels).sum(), leaf)
    return slope

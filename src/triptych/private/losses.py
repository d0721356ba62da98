"""The Wasserstein losses of a conditional discriminator, one value a member.

Summing them over members trains all at once: the gradient of a member's
weights comes from its own loss alone.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from triptych.config.private import DiscriminatorConfig
from triptych.private.ensemble import Images, Labels, Scores
from triptych.private.lanes import inputs_alone

PerMember = Float[Tensor, " members"]
Mix = Float[Tensor, "members batch"]
Judge = Callable[[Images, Labels], Tensor]  # an ensemble or a part of it: one score an image


def interpolate(real: Images, fake: Images, mix: Mix) -> Images:
    """Images between real and fake; `mix` is the share of the real one, uniform in [0, 1)."""
    return torch.lerp(fake, real, mix[..., None, None, None])


def slope_penalty(slope: Float[Tensor, "members batch ..."]) -> PerMember:
    """Two-sided penalty on slopes at interpolates (Gulrajani et al. 2017, arXiv:1704.00028, eq. 3)."""
    return (slope.flatten(2).norm(dim=2) - 1).square().mean(1)


def gradient_penalty(judge: Judge, real: Images, fake: Images, labels: Labels, mix: Mix) -> PerMember:
    """`slope_penalty` of a judge; `mix` is that of `interpolate`."""
    between = interpolate(real, fake, mix).requires_grad_()
    with inputs_alone():
        (slope,) = torch.autograd.grad(judge(between, labels).sum(), between, create_graph=True)
    return slope_penalty(slope)


def total(
    on_real: Scores, on_fake: Scores, penalty: PerMember, settings: DiscriminatorConfig
) -> tuple[PerMember, PerMember]:
    """Loss of each member, and its estimate of the Wasserstein distance.

    The drift penalty keeps the scores of real images near zero (Karras et al.
    2018, arXiv:1710.10196).
    """
    distance = on_real.mean(1) - on_fake.mean(1)
    drift = settings.drift * on_real.square().mean(1)
    return settings.gradient_penalty * penalty + drift - distance, distance.detach()


def discriminator_loss(
    judge: Judge, real: Images, fake: Images, labels: Labels, *, mix: Mix, settings: DiscriminatorConfig
) -> tuple[PerMember, PerMember]:
    """`total` of a judge; `mix` is that of `interpolate`."""
    on_real, on_fake = judge(real, labels), judge(fake, labels)
    return total(on_real, on_fake, gradient_penalty(judge, real, fake, labels, mix), settings)


def input_gradient(judge: Judge, fake: Images, labels: Labels) -> Images:
    """How each score falls with each pixel: the gradient of the generator's loss at its output."""
    leaf = fake.detach().requires_grad_()
    with inputs_alone():
        (slope,) = torch.autograd.grad(-judge(leaf, labels).sum(), leaf)
    return slope

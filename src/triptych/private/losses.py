"""The Wasserstein losses of a conditional discriminator, one value a member.

Summing them over members trains all at once: the gradient of a member's
weights comes from its own loss alone.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from triptych.private.ensemble import Ensemble, Images, Labels

PerMember = Float[Tensor, " members"]


def gradient_penalty(ensemble: Ensemble, real: Images, fake: Images, labels: Labels) -> PerMember:
    """Two-sided penalty on random interpolates (Gulrajani et al. 2017, arXiv:1704.00028, eq. 3)."""
    mix = torch.rand(*real.shape[:2], 1, 1, 1, device=real.device)
    between = torch.lerp(fake, real, mix).requires_grad_()
    (slope,) = torch.autograd.grad(ensemble(between, labels).sum(), between, create_graph=True)
    return (slope.flatten(2).norm(dim=2) - 1).square().mean(1)


def discriminator_loss(
    ensemble: Ensemble, real: Images, fake: Images, labels: Labels, *, penalty: float, drift: float
) -> tuple[PerMember, PerMember]:
    """Loss of each member, and its estimate of the Wasserstein distance.

    `drift` keeps the scores of real images near zero (Karras et al. 2018,
    arXiv:1710.10196).
    """
    judged_real, judged_fake = ensemble(real, labels), ensemble(fake, labels)
    distance = judged_real.mean(1) - judged_fake.mean(1)
    cost = penalty * gradient_penalty(ensemble, real, fake, labels)
    return cost + drift * judged_real.square().mean(1) - distance, distance.detach()


def input_gradient(ensemble: Ensemble, fake: Images, labels: Labels) -> Images:
    """How each score falls with each pixel: the gradient of the generator's loss at its output."""
    leaf = fake.detach().requires_grad_()
    (slope,) = torch.autograd.grad(-ensemble(leaf, labels).sum(), leaf)
    return slope

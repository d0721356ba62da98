"""Released gradients of records: Poisson sampling, clipping of each record's gradient, one noisy sum.

Abadi et al. 2016 (arXiv:1607.00133), Algorithm 1, with Opacus's ghost clipping
(Li et al. 2022, arXiv:2110.05679): norms of single gradients without the
gradients, then one weighted backward pass.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Float64, Int64
from opacus.grad_sample import GradSampleModuleFastGradientClipping
from torch import Tensor, nn

from triptych.privacy.ledger import Ledger
from triptych.privacy.noise import RandomSource, poisson_sample
from triptych.privacy.sanitize import perturb

Losses = Callable[[nn.Module, Tensor, Tensor], Float[Tensor, " n"]]  # network, images, labels: one a record


def record_norms(
    network: nn.Module, losses: Losses, images: Tensor, labels: Tensor, *, clip_norm: float
) -> Float[Tensor, " n"]:
    """L2 norm of the gradient of each record's loss."""
    hooked = GradSampleModuleFastGradientClipping(
        network,
        max_grad_norm=clip_norm,  # pyright: ignore[reportArgumentType]  # Opacus means float
        use_ghost_clipping=True,
        loss_reduction="sum",
    )
    watched = images.detach().requires_grad_()  # the hooks ask for an input with a gradient
    losses(hooked, watched, labels).sum().backward()
    norms = hooked.get_norm_sample().detach().clone()
    hooked.zero_grad()
    hooked.remove_hooks()
    return norms


def clipped_sum(
    network: nn.Module, losses: Losses, images: Tensor, labels: Tensor, *, clip_norm: float
) -> Float64[Tensor, " parameters"]:
    """The sum of the records' gradients, each clipped to `clip_norm`; one that is not finite is left out."""
    parameters = list(network.parameters())
    nothing = torch.zeros(sum(p.numel() for p in parameters), dtype=torch.float64)
    if len(images) == 0:
        return nothing
    norms = record_norms(network, losses, images, labels, clip_norm=clip_norm)
    kept = norms.isfinite()
    if not kept.any():
        return nothing
    weights = (clip_norm / norms[kept]).clamp(max=1)
    weighted = (weights * losses(network, images[kept], labels[kept])).sum()
    return torch.cat([grad.flatten() for grad in torch.autograd.grad(weighted, parameters)]).double()


def as_gradients(flat: Float64[Tensor, " parameters"], parameters: list[nn.Parameter]) -> list[Tensor]:
    """One float32 tensor a parameter, in its shape."""
    parts = flat.float().split([p.numel() for p in parameters])
    return [part.view_as(p) for part, p in zip(parts, parameters, strict=True)]


@dataclass
class GradientReleaser:
    """The one door of DP-SGD: draws a secret batch, pays in the ledger, perturbs the clipped sum."""

    images: Float[Tensor, "n channels height width"]  # private
    labels: Int64[Tensor, " n"]
    sample_rate: float
    clip_norm: float
    noise_multiplier: float
    ledger: Ledger
    source: RandomSource
    limit: int  # steps that the budget pays for

    @property
    def exhausted(self) -> bool:
        """True where one more step would cost more than the budget."""
        return self.ledger.steps >= self.limit

    def __call__(self, network: nn.Module, losses: Losses, *, step: int) -> list[Tensor]:
        """Noisy gradient of the mean loss, one tensor a parameter; divided by the public expected batch."""
        batch = poisson_sample(len(self.labels), self.sample_rate, self.source)
        total = clipped_sum(network, losses, self.images[batch], self.labels[batch], clip_norm=self.clip_norm)
        self.ledger.record(step)
        noisy = perturb(
            total,
            sensitivity=2 * self.clip_norm,
            noise_multiplier=self.noise_multiplier,
            source=self.source,
        )
        return as_gradients(noisy / (self.sample_rate * len(self.labels)), list(network.parameters()))

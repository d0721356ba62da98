"""Gradients of the discriminator loss in the weights: by autograd, or by hand where that is faster.

A multilayer perceptron with ReLU is linear where its masks are fixed, and its slope at an
image is the product of its masked layers, transposed. So the second derivatives that the
penalty on slopes needs are one more pass forward: `turn`, the gradient of the penalty in
the slope, goes through the masked layers like an image.
"""

from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from triptych.config.private import DiscriminatorConfig
from triptych.private.ensemble import Images, Labels, MLPEnsemble, Scores
from triptych.private.losses import Mix, PerMember, discriminator_loss, interpolate, slope_penalty, total
from triptych.private.members import Part

Rows = Float[Tensor, "members batch features"]
Seen = Float[Tensor, "members batch inputs"]
Said = Float[Tensor, "members batch outputs"]
Each = list[Tensor]  # rows of every layer


class Layer(NamedTuple):
    """A linear layer of every member, and the sums of its gradients so far."""

    weight: torch.nn.Parameter
    bias: torch.nn.Parameter

    def learn(self, seen: Seen, said: Said, *, biased: bool = True) -> None:
        """Add the gradients where `said` is that of the output for `seen`."""
        if self.weight.grad is None:
            self.weight.grad = torch.bmm(seen.transpose(1, 2), said)
        else:
            self.weight.grad.baddbmm_(seen.transpose(1, 2), said)
        if biased:
            sums = said.sum(1, keepdim=True)
            self.bias.grad = sums if self.bias.grad is None else self.bias.grad + sums

    def back(self, said: Said) -> Seen:
        """A gradient of the output as one of the input."""
        return torch.bmm(said, self.weight.transpose(1, 2))


class Pass(NamedTuple):
    """What each layer saw, and the scores."""

    seen: Each
    scores: Scores


def set_gradients(
    judge: Part, real: Images, fake: Images, labels: Labels, *, mix: Mix, settings: DiscriminatorConfig
) -> PerMember:
    """Leave the gradients of `discriminator_loss` in the weights; the estimated Wasserstein distance."""
    if isinstance(judge.module, MLPEnsemble):
        return _by_hand(judge, real, fake, labels, mix=mix, settings=settings)
    loss, distance = discriminator_loss(judge, real, fake, labels, mix=mix, settings=settings)
    loss.sum().backward()
    return distance


@torch.no_grad()
def _by_hand(
    judge: Part, real: Images, fake: Images, labels: Labels, *, mix: Mix, settings: DiscriminatorConfig
) -> PerMember:
    module, weights = cast("MLPEnsemble", judge.module), list(judge.weights.values())
    layers = [Layer(*pair) for pair in zip(weights[::2], weights[1::2], strict=True)]
    images = (real, fake, interpolate(real, fake, mix))
    on_real, on_fake, between = (_forward(layers, module.rows(x, labels)) for x in images)
    said, slope = _slopes(layers, between)
    pixels = slope[..., : real[0, 0].numel()]
    with torch.enable_grad():
        leaves = [x.detach().requires_grad_() for x in (on_real.scores, on_fake.scores, pixels)]
        loss, distance = total(leaves[0], leaves[1], slope_penalty(leaves[2]), settings)
        of_real, of_fake, turn = torch.autograd.grad(loss.sum(), leaves)
    _turn(layers, between, said, F.pad(turn, (0, slope.shape[2] - turn.shape[2])))
    _backward(layers, on_fake, of_fake)
    _backward(layers, on_real, of_real)
    return distance


def _forward(layers: list[Layer], rows: Rows) -> Pass:
    seen = [rows]
    for layer in layers[:-1]:
        seen.append(torch.baddbmm(layer.bias, seen[-1], layer.weight).clamp_(min=0))
    return Pass(seen, torch.baddbmm(layers[-1].bias, seen[-1], layers[-1].weight).squeeze(2))


def _masked(said: Rows, seen: Rows) -> Rows:
    """A gradient behind the ReLU whose output is `seen` as one before it."""
    return torch.ops.aten.threshold_backward(said, seen, 0)


def _slopes(layers: list[Layer], passed: Pass) -> tuple[Each, Rows]:
    """The gradients of the scores in each layer's output, and in what the first one sees."""
    said = [torch.ones_like(passed.scores)[..., None]]
    for layer, seen in zip(layers[:0:-1], passed.seen[:0:-1], strict=True):
        said.insert(0, _masked(layer.back(said[0]), seen))
    return said, layers[0].back(said[0])


def _turn(layers: list[Layer], passed: Pass, said: Each, turn: Rows) -> None:
    """The penalty's gradients: biases have none, a slope does not depend on them."""
    for k, layer in enumerate(layers):
        layer.learn(turn, said[k], biased=False)
        if k + 1 < len(layers):
            turn = _masked(torch.bmm(turn, layer.weight), passed.seen[k + 1])


def _backward(layers: list[Layer], passed: Pass, of_scores: Scores) -> None:
    """The gradients through the scores."""
    said = of_scores[..., None]
    for k in reversed(range(len(layers))):
        layers[k].learn(passed.seen[k], said)
        if k > 0:
            said = _masked(layers[k].back(said), passed.seen[k])

"""Convolutions by our kernels against torch's own in double precision, one member at a time."""

from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch.func import functional_call

from triptych.config.data import DataConfig
from triptych.config.private import DiscriminatorConfig
from triptych.private.compiled import Window
from triptych.private.ensemble import build_ensemble
from triptych.private.lanes import Convolve, runs_on, to_lanes
from triptych.private.losses import discriminator_loss, gradient_penalty, input_gradient
from triptych.private.members import cut

MNIST = DataConfig("mnist", image_size=28, train_size=60000, test_size=10000)
SETTINGS = DiscriminatorConfig("conv", width=3, batch_size=9, learning_rate=1e-3)


@pytest.fixture
def threads():
    """Back to the former number."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def batch(members: int, images: int = 9) -> tuple[torch.Tensor, ...]:
    shape = (members, images)
    return (*torch.rand(2, *shape, 1, 28, 28), torch.randint(10, shape), torch.rand(shape))


def loss_of(judge: Any, values: tuple[torch.Tensor, ...]) -> torch.Tensor:
    real, fake, labels, mix = values
    return discriminator_loss(judge, real, fake, labels, mix=mix, settings=SETTINGS)[0]


@pytest.mark.parametrize(
    ("images", "inputs", "outputs", "window"),
    [
        (9, 1, 3, Window(28, 5, 2, 2)),  # lanes without an image, blocks that do not fill
        (16, 5, 8, Window(7, 5, 2, 2)),
        (32, 8, 17, Window(9, 5, 2, 2)),
        (48, 2, 9, Window(6, 3, 1, 1)),  # two vectors and one
        (20, 9, 4, Window(8, 4, 3, 0)),  # the last column is seen by no output
    ],
)
def test_the_convolution_and_its_gradients_to_the_second_order(images, inputs, outputs, window):
    """Values, gradients and the gradient of their squared norm: all that a penalty on slopes needs."""
    torch.manual_seed(0)
    x = torch.randn(2, images, inputs, window.size, window.size, requires_grad=True)
    weight = torch.randn(2, outputs, inputs, window.kernel_size, window.kernel_size, requires_grad=True)
    bias = torch.randn(2, outputs, requires_grad=True)

    def ours(x, weight, bias):
        y = Convolve.apply(to_lanes(x), weight.permute(0, 3, 4, 2, 1).contiguous(), bias, window)
        return y[..., :images].permute(0, 4, 3, 1, 2)

    def theirs(x, weight, bias):
        each = [
            F.conv2d(*member, window.stride, window.padding) for member in zip(x, weight, bias, strict=True)
        ]
        return torch.stack(each)

    found = []
    for function, dtype in ((ours, torch.float32), (theirs, torch.float64)):
        leaves = [leaf.detach().to(dtype).requires_grad_() for leaf in (x, weight, bias)]
        y = function(*leaves)
        first = torch.autograd.grad(y.square().sum() / y.numel(), leaves, create_graph=True)
        second = torch.autograd.grad(torch.stack([g.square().sum() for g in first]).sum(), leaves)
        found.append([value.double() for value in (y, *first, *second)])
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5 * float(other.detach().abs().max()))


def test_the_whole_loss_has_the_gradients_of_grouped_convolutions():
    """In double precision the ensemble takes torch's grouped convolution; both get the same weights."""
    torch.manual_seed(0)
    ensemble: Any = build_ensemble(
        3, SETTINGS, MNIST
    ).eval()  # in training every pass moves the spectral norm
    for convolution in ensemble.convolutions:
        torch.nn.init.normal_(convolution.bias, std=0.1)
    values = batch(3)
    assert runs_on(values[0])
    assert not runs_on(values[0].double())
    found = []
    for dtype in (torch.float32, torch.float64):
        ensemble = ensemble.to(dtype)
        cast = tuple(v.to(dtype) if v.is_floating_point() else v for v in values)
        loss = loss_of(ensemble, cast)
        gradients = torch.autograd.grad(loss.sum(), list(ensemble.parameters()))
        asked = input_gradient(ensemble, cast[1], cast[2])
        found.append([value.double() for value in (loss, *gradients, asked)])
    for mine, other in zip(*found, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-3, atol=1e-4 * float(other.detach().abs().max()))


def test_the_gradient_of_the_penalty_is_its_slope():
    """Central differences in double precision along a random direction of all weights."""
    torch.manual_seed(0)
    ensemble: Any = build_ensemble(2, SETTINGS, MNIST).double()
    for layer in [*ensemble.convolutions, ensemble.head, ensemble.embedding]:
        layer.train()
        for _ in range(500):  # singular vectors count as constants, which is right where they are exact
            layer.weight  # noqa: B018  # each access is one power iteration
    real, fake, labels, mix = batch(2)
    ensemble.eval()
    weights = {name: value.detach() for name, value in ensemble.named_parameters()}
    directions = {name: torch.randn_like(value) for name, value in weights.items()}
    buffers = dict(ensemble.named_buffers())

    def penalty(at):
        moved = {name: value + at * directions[name] for name, value in weights.items()}
        return gradient_penalty(
            lambda *inputs: functional_call(ensemble, {**moved, **buffers}, inputs),
            real.double(), fake.double(), labels, mix.double(),
        ).sum()  # fmt: skip

    at = torch.zeros((), dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(penalty(at), at)
    step = 1e-6
    difference = (penalty(torch.tensor(step)) - penalty(torch.tensor(-step))) / (2 * step)
    assert float(difference.detach()) == pytest.approx(float(slope), rel=1e-4)


@pytest.mark.usefixtures("threads")
def test_threads_change_no_bit_and_company_only_the_last_ones():
    """Else results would depend on the machine, and shards on each other."""
    torch.manual_seed(0)
    ensemble = build_ensemble(5, SETTINGS, MNIST)
    values, state = batch(5), {k: v.clone() for k, v in ensemble.state_dict().items()}
    found = []
    for threads, chunk in ((1, None), (2, None), (3, None), (2, 2)):
        torch.set_num_threads(threads)
        ensemble.load_state_dict(state)
        gradients = []
        for part in cut(ensemble, 5, chunk=chunk):
            loss = loss_of(part, tuple(v[part.members] for v in values))
            loss.sum().backward()
            gradients.append(part.weights["convolutions.1.parametrizations.weight.original"].grad)
        found.append(torch.cat([g for g in gradients if g is not None]))
    assert torch.equal(found[0], found[1])
    assert torch.equal(found[0], found[2])
    torch.testing.assert_close(found[0], found[3])


def test_a_gradient_that_is_not_a_number_stays_with_its_member():
    """One ruined discriminator must not touch another."""
    torch.manual_seed(0)
    ensemble = build_ensemble(3, replace(SETTINGS, width=4), MNIST)
    images, _, labels, _ = batch(3)
    images[1] = float("nan")
    scores = ensemble(images, labels)
    assert scores[1].isnan().all()
    assert scores[[0, 2]].isfinite().all()

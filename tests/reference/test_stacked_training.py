"""A discriminator step by hand against autograd and torch's Adam."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch.optim import Adam

from triptych.config.data import DataConfig
from triptych.config.private import DiscriminatorConfig
from triptych.private.adam import StackedAdam
from triptych.private.ensemble import build_ensemble
from triptych.private.gradients import set_gradients
from triptych.private.losses import discriminator_loss
from triptych.private.members import Part, cut

DIGITS = DataConfig("digits", image_size=8, train_size=1440, test_size=357)
SETTINGS = DiscriminatorConfig("mlp", width=6, batch_size=4, learning_rate=1e-3, label_scale=3.0, drift=0.1)


def parts(members: int, chunk: int | None = None, *, dtype: torch.dtype = torch.float64) -> list[Part]:
    ensemble = build_ensemble(members, SETTINGS, DIGITS).to(dtype)
    for parameter in ensemble.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return cut(ensemble, members, chunk=chunk)


def batch(members: int, *, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, ...]:
    shape = (members, SETTINGS.batch_size)
    images = torch.rand(2, *shape, 1, 8, 8, dtype=dtype)
    return (*images, torch.randint(10, shape), torch.rand(shape, dtype=dtype))


@pytest.mark.parametrize("drift", [0.0, 0.1])
@pytest.mark.parametrize("penalty", [0.0, 10.0])
def test_gradients_by_hand_are_those_of_autograd(drift, penalty):
    """In double precision, every term of the loss: the second derivatives are those of the penalty."""
    torch.manual_seed(0)
    settings = replace(SETTINGS, drift=drift, gradient_penalty=penalty)
    (part,), (real, fake, labels, mix) = parts(3), batch(3)
    found = set_gradients(part, real, fake, labels, mix=mix, settings=settings)
    loss, distance = discriminator_loss(part, real, fake, labels, mix=mix, settings=settings)
    torch.testing.assert_close(found, distance)
    names = list(part.weights)
    expected = torch.autograd.grad(loss.sum(), list(part.weights.values()))
    for name, value in zip(names, expected, strict=True):
        gradient = part.weights[name].grad
        assert gradient is not None
        torch.testing.assert_close(gradient, value, rtol=1e-9, atol=1e-12, msg=lambda m, n=name: f"{n}: {m}")


def test_gradients_by_hand_follow_the_loss():
    """Central differences of the whole loss along random directions of the weights."""
    torch.manual_seed(1)
    (part,), (real, fake, labels, mix) = parts(2), batch(2)
    set_gradients(part, real, fake, labels, mix=mix, settings=SETTINGS)
    step = 1e-6
    for weight in part.weights.values():
        direction = torch.randn_like(weight)
        values = []
        for move in (step, -2 * step):
            weight.data += move * direction
            loss, _ = discriminator_loss(part, real, fake, labels, mix=mix, settings=SETTINGS)
            values.append(float(loss.detach().sum()))
        weight.data += step * direction
        assert weight.grad is not None
        expected = float((weight.grad * direction).detach().sum())
        assert (values[0] - values[1]) / (2 * step) == pytest.approx(expected, rel=1e-5, abs=1e-6)


def test_a_member_learns_from_its_own_images_alone():
    """Other members' gradients are the same to the bit when one member sees another shard."""
    torch.manual_seed(0)
    (part,), (real, fake, labels, mix) = parts(3), batch(3)
    found = []
    for shade in (0.0, 1.0):
        real[1] = shade
        set_gradients(part, real, fake, labels, mix=mix, settings=SETTINGS)
        found.append({name: weight.grad for name, weight in part.weights.items()})
        for weight in part.weights.values():
            weight.grad = None
    for name in part.weights:
        first, second = (gradients[name] for gradients in found)
        assert first is not None
        assert second is not None
        assert torch.equal(first[[0, 2]], second[[0, 2]])
    weights = "layers.0.weight"
    assert not torch.equal(found[0][weights][1], found[1][weights][1])  # pyright: ignore[reportOptionalSubscript]


@pytest.mark.parametrize(("rate", "betas"), [(1e-3, (0.5, 0.9)), (2e-4, (0.9, 0.999))])
def test_adam_is_that_of_torch(rate, betas):
    """Weights and state over many steps; one weight has gradients now and then, one never."""
    torch.manual_seed(0)
    shapes = [(7, 33, 5), (7, 1, 5), (3,), (2, 40_000)]
    ours = [torch.nn.Parameter(torch.randn(shape)) for shape in shapes]
    theirs = [torch.nn.Parameter(weight.detach().clone()) for weight in ours]
    optimizers = StackedAdam(ours, rate, betas), Adam(theirs, rate, betas, foreach=False)
    for step in range(12):
        for i, (a, b) in enumerate(zip(ours, theirs, strict=True)):
            if i != 2 and (i != 1 or step % 3 == 0):
                a.grad = torch.randn(a.shape) * 10 ** torch.randn(a.shape)
                b.grad = a.grad.clone()
        for optimizer in optimizers:
            optimizer.step()
            optimizer.zero_grad()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
    mine, other = (optimizer.state_dict() for optimizer in optimizers)
    assert mine["state"].keys() == other["state"].keys()
    torch.testing.assert_close(mine["state"], other["state"], rtol=1e-6, atol=1e-9)


def test_adam_goes_on_from_the_state_of_torch():
    """A checkpoint of an older version continues."""
    torch.manual_seed(0)
    before = torch.nn.Parameter(torch.randn(4, 9))
    older = Adam([before], 1e-2)
    before.grad = torch.randn(4, 9)
    older.step()
    after = torch.nn.Parameter(before.detach().clone())
    newer = StackedAdam([after], 1e-2)
    newer.load_state_dict(deepcopy(older.state_dict()))
    gradient = torch.randn(4, 9)
    before.grad, after.grad = gradient, gradient.clone()
    older.step()
    newer.step()
    torch.testing.assert_close(after, before)


def test_adam_in_double_precision_is_torch_itself():
    """Our passes are float32; another type must not be read as such."""
    torch.manual_seed(0)
    pair = [torch.nn.Parameter(torch.randn(5, dtype=torch.float64)) for _ in range(2)]
    pair[1].data.copy_(pair[0].data)
    for weight, kind in zip(pair, (StackedAdam, Adam), strict=True):
        weight.grad = torch.linspace(-1, 1, 5, dtype=torch.float64)
        kind([weight], 1e-2).step()
    assert torch.equal(*pair)

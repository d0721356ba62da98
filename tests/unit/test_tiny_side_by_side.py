"""Subnets that train side by side against each of them alone, in one graph of autograd's own."""

from collections.abc import Iterator

import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from subnets import EVEN, SPACE, archs, images, supernet
from torch import Tensor

from triptych.tiny import supernet as module
from triptych.tiny.arch import ArchConfig, SearchSpace
from triptych.tiny.side_by_side import Part, side_by_side
from triptych.tiny.supernet import Supernet

RESTORED = settings(
    deadline=None, max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
ALWAYS, NEVER = 1, 2**62


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def gradients(
    network: Supernet, space: SearchSpace, chosen: list[ArchConfig], threads: int
) -> tuple[list[Tensor], list[Tensor | None]]:
    """Logits and gradients of a step with these subnets."""
    torch.set_num_threads(threads)
    network.zero_grad()
    logits = network.forward_all(images(space), chosen)
    labels = torch.arange(len(logits[0])) % space.classes
    torch.stack([F.cross_entropy(each, labels) for each in logits]).sum().backward()
    assert torch.get_num_threads() == threads
    return logits, [None if p.grad is None else p.grad.clone() for p in network.parameters()]


@RESTORED
@given(chosen=st.lists(archs(SPACE), min_size=2, max_size=5))
def test_results_do_not_depend_on_the_number_of_threads(
    chosen: list[ArchConfig], monkeypatch: pytest.MonkeyPatch
):
    """Bit for bit, whichever subnet ends first; more threads than subnets too."""
    monkeypatch.setattr(module, "MANY_PIXELS", ALWAYS)
    network = supernet(SPACE)
    logits, slopes = gradients(network, SPACE, chosen, 1)
    for threads in (2, 3, 6):
        others, found = gradients(network, SPACE, chosen, threads)
        assert all(map(torch.equal, others, logits))
        for a, b in zip(found, slopes, strict=True):
            assert (a is None and b is None) or (a is not None and b is not None and torch.equal(a, b))


@pytest.mark.parametrize("space", [SPACE, EVEN], ids=["odd", "even"])
def test_a_step_is_that_of_one_graph(space: SearchSpace, monkeypatch: pytest.MonkeyPatch):
    """Logits bit for bit; gradients to rounding, or none where no subnet uses the weights."""
    network, chosen = supernet(space), [space.smallest(), space.smallest()]
    chosen += [space.largest()] if space is EVEN else []
    monkeypatch.setattr(module, "MANY_PIXELS", NEVER)
    logits, slopes = gradients(network, space, chosen, 1)
    assert (space is SPACE) == any(slope is None for slope in slopes)
    monkeypatch.setattr(module, "MANY_PIXELS", ALWAYS)
    others, found = gradients(network, space, chosen, 2)
    assert all(map(torch.equal, others, logits))
    for a, b in zip(found, slopes, strict=True):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_a_part_that_fails_leaves_torch_its_threads():
    """Its error reaches the caller, and the next operator has the threads that it had."""

    def fail(x: Tensor) -> Tensor:
        raise ZeroDivisionError(len(x))

    torch.set_num_threads(2)
    weight = torch.ones(3, requires_grad=True)
    with pytest.raises(ZeroDivisionError):
        side_by_side(lambda: weight * 2, [Part(fail, 1), Part(torch.square, 2)], [weight])
    assert torch.get_num_threads() == 2


def test_gradients_are_those_of_calculus():
    """d(a^2 + 3a)/dw with a = 2w."""
    torch.set_num_threads(2)
    weight = torch.tensor([1.0, -2.0, 0.5], requires_grad=True)
    square, triple = side_by_side(
        lambda: weight * 2, [Part(torch.square, 1), Part(lambda x: 3 * x, 2)], [weight]
    )
    (square + triple).sum().backward()
    torch.testing.assert_close(weight.grad, 8 * weight.detach() + 6)

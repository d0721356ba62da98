"""The server: it holds the generator, and learns of records only what passes `sanitize`."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, cast

import torch
from flwr.serverapp import Grid
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.optim import Adam
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from triptych.data.resume import derived_seed
from triptych.federated import wire
from triptych.federated.agreement import Party
from triptych.federated.clients import JUDGE, UPDATE
from triptych.federated.federation import Federation, Tally
from triptych.federated.state import load_state, save_state
from triptych.privacy.certificate import mechanism
from triptych.privacy.ledger import Ledger
from triptych.privacy.noise import poisson_sample, random_source
from triptych.privacy.sanitize import clip, sanitize
from triptych.private.budget import affordable_steps, client_norm, terms
from triptych.private.ensemble import build_ensemble, pooled
from triptych.private.generators import Generator
from triptych.private.warm_start import BETAS, descend

TAIL = 8.0  # the norm of noise in d dimensions exceeds std * (sqrt(d) + TAIL) once in exp(TAIL^2 / 2) = 8e13

START, ROUND, NOISE = range(3)  # what a seed is for; those of clients begin with their index, from 3

Row = dict[str, int]  # of the history: one round


class Server(ABC):
    """What both methods share: generator, moving average, optimiser, and the noise of a round."""

    def __init__(self, party: Party) -> None:
        self.private, self.data, self.own, self.seed = party.private, party.data, party.own, party.seed
        torch.manual_seed(derived_seed(self.seed, START))
        self.generator = Generator(self.private.generator, self.data)
        self.average = AveragedModel(
            self.generator, multi_avg_fn=get_ema_multi_avg_fn(self.private.generator.average)
        )
        self.optimizer = Adam(self.generator.parameters(), self.private.generator.learning_rate, BETAS)
        self.source = random_source(secure=self.private.secure_rng)
        self.noise = terms(self.private).event.noise_multiplier  # what is certified is used
        self.norm = client_norm(self.private)

    @abstractmethod
    def play(self, federation: Federation, step: int) -> Tally:
        """One round, already paid for."""

    def parts(self) -> dict[str, Any]:
        """What a killed server needs to go on."""
        return {"generator": self.generator, "average": self.average, "optimizer": self.optimizer}

    @property
    def released(self) -> Generator:
        """What may leave: the moving average of the generator."""
        return cast("Generator", self.average.module)

    def noisy_sum(self, rows: Float[Tensor, "clients features"], step: int) -> Float[Tensor, " features"]:
        """The sum of the clients' rows, clipped here once more whatever they say they did, and noise."""
        torch.manual_seed(derived_seed(self.seed, NOISE, step))  # of a seeded source
        return sanitize(rows[None], clip_norm=self.norm, noise_multiplier=self.noise, source=self.source)[0]

    def fakes(self, count: int) -> tuple[Float[Tensor, "rows channels height width"], Tensor]:
        """Generated images of uniform labels, as discriminators see them."""
        labels = torch.randint(self.data.classes, (count,))
        drawn = self.generator(self.generator.draw_latent(count), labels)
        return pooled(drawn, self.private.discriminator.pool), labels


class GSWGANServer(Server):
    """Sends rows, receives their gradients: Chen, Orekondy, Fritz 2020, Algorithm 1, full release."""

    def play(self, federation: Federation, step: int) -> Tally:
        fake, labels = self.fakes(self.private.rows)
        content = wire.pack({"rows": fake.detach(), "labels": labels.short()}, step=step)
        blocks, tally = federation.exchange(
            JUDGE, content, name="block", shape=tuple(fake.shape), norm=self.honest_norm(fake.numel())
        )
        gradient = self.total(blocks, step) / self.own.clients / len(labels)
        self.optimizer.zero_grad()
        fake.backward(gradient.reshape(fake.shape))
        self.optimizer.step()
        self.average.update_parameters(self.generator)
        return tally

    def honest_norm(self, size: int) -> float:
        """What a block stays within: the clip norm, and the client's noise where it adds some."""
        if self.own.noise_at == "server":
            return self.norm
        return self.norm + self.noise * 2 * self.norm * (math.sqrt(size) + TAIL)

    def total(self, blocks: Float[Tensor, "clients features"], step: int) -> Float[Tensor, " features"]:
        """The sum that may be used: made noisy here, or by the clients already."""
        if self.own.noise_at == "server":
            return self.noisy_sum(blocks, step)
        return clip(blocks, self.honest_norm(blocks.shape[1])).sum(dim=0, dtype=torch.float64).float()


class FedAvgGANServer(Server):
    """Sends both networks, receives updates of the discriminator (Augenstein et al. 2020, Algorithm 1)."""

    def __init__(self, party: Party) -> None:
        super().__init__(party)
        self.discriminator = build_ensemble(1, self.private.discriminator, self.data)

    def parts(self) -> dict[str, Any]:
        return {**super().parts(), "discriminator": self.discriminator}

    def play(self, federation: Federation, step: int) -> Tally:
        weights = parameters_to_vector(self.discriminator.parameters()).detach()
        content = wire.pack(
            {
                "generator": parameters_to_vector(self.generator.parameters()).detach(),
                "discriminator": weights,
            },
            step=step,
        )
        chosen = poisson_sample(self.own.clients, self.own.sample_rate, self.source).tolist()
        changes, tally = federation.exchange(
            UPDATE, content, name="change", shape=tuple(weights.shape), norm=self.norm, chosen=chosen
        )
        expected = self.own.sample_rate * self.own.clients  # public; the true number is not
        mean = self.noisy_sum(changes, step) / expected
        vector_to_parameters(weights + self.own.server_rate * mean, self.discriminator.parameters())
        for _ in range(self.own.generator_steps):
            self.train_generator()
        return tally

    def train_generator(self) -> None:
        """Post-processing: it sees the noisy discriminator alone."""
        fake, labels = self.fakes(self.private.rows)
        descend(self.optimizer, -self.discriminator(fake[None], labels[None]).mean())
        self.discriminator.zero_grad()
        self.average.update_parameters(self.generator)


SERVERS: dict[str, type[Server]] = {"fed_gswgan": GSWGANServer, "fed_avg_gan": FedAvgGANServer}


def serve(
    party: Party, grid: Grid, *, progress: bool = False, after: Callable[[int], None] = lambda step: None
) -> tuple[Generator, list[Row]]:
    """Play the planned rounds, or as many as the budget pays for; the generator and one row a round.

    A round is paid for before the first client is asked. A server that was
    killed goes on from its last whole round; the one that it was in is paid again.
    """
    limit = affordable_steps(party.private)
    server = SERVERS[party.private.method](party)
    path = party.folder / "state.pt"
    state = load_state(path) or {"history": [], **{n: p.state_dict() for n, p in server.parts().items()}}
    for name, part in server.parts().items():
        part.load_state_dict(state[name])
    history: list[Row] = state["history"]
    with Ledger(party.folder / "ledger.jsonl", mechanism(terms(party.private))) as ledger:
        federation = Federation(
            grid, clients=party.own.clients, timeout=party.own.timeout, digest=party.digest
        )
        rounds = range(len(history), party.own.steps)
        for step in tqdm(rounds, desc=party.private.method, unit="round", disable=not progress):
            if ledger.steps >= limit:
                break
            ledger.record(step)
            torch.manual_seed(derived_seed(party.seed, ROUND, step))
            tally = server.play(federation, step)
            history.append({"step": step, **asdict(tally)})
            save_state(path, {"history": history, **{n: p.state_dict() for n, p in server.parts().items()}})
            after(step)
    return server.released, history

"""What a client of federated GS-WGAN does: train its discriminator, judge the server's rows.

Chen, Orekondy, Fritz 2020 (arXiv:2006.08265), section 5.3: the discriminator
and the records stay; the clipped gradient with respect to the rows leaves.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.optim import Adam

from triptych.federated.agreement import Party
from triptych.federated.state import load_state, save_state
from triptych.privacy.certificate import mechanism
from triptych.privacy.ledger import Ledger
from triptych.privacy.noise import random_source
from triptych.privacy.sanitize import clip, sanitize
from triptych.private.budget import client_norm, terms
from triptych.private.ensemble import build_ensemble, pooled
from triptych.private.losses import discriminator_loss, input_gradient
from triptych.private.warm_start import BETAS, descend

Rows = Float[Tensor, "rows channels height width"]
RowLabels = Int[Tensor, " rows"]


class Judge:
    """One client's discriminator, as it was after the last round that it took part in."""

    def __init__(self, party: Party) -> None:
        self.party, self.settings = party, party.private.discriminator
        records = party.records()
        self.images, self.labels = torch.from_numpy(records.images), torch.from_numpy(records.labels)
        torch.manual_seed(party.random())
        self.network = build_ensemble(1, self.settings, party.data)
        self.optimizer = Adam(self.network.parameters(), self.settings.learning_rate, BETAS)
        self.path = party.folder / "state.pt"
        self.rounds = 0
        if state := load_state(self.path):
            self.rounds = state["rounds"]
            self.network.load_state_dict(state["network"])
            self.optimizer.load_state_dict(state["optimizer"])

    def answer(self, rows: Rows, labels: RowLabels, *, step: int) -> Rows:
        """The block of this client for round `step`: clipped, and noisy where the client adds the noise.

        A round that is asked for again, by a server that was killed, gets the
        answer of the discriminator that was trained for it.
        """
        torch.manual_seed(self.party.random(step))
        if step >= self.rounds:
            for _ in range(self.party.own.local_steps):
                self._train(rows, labels)
            self._save(step + 1)
        return self._release(self._block(rows, labels), step).reshape(rows.shape)

    def _train(self, rows: Rows, labels: RowLabels) -> None:
        """A step on the server's rows, each beside a record of its label; rows without one are left out."""
        weights = (self.labels[None] == labels[:, None]).float()
        known = weights.any(dim=1)
        if not known.any():
            return
        drawn = torch.multinomial(weights[known], 1).squeeze(1)
        real = pooled(self.images[drawn] / 255, self.settings.pool)
        fake, same = rows[known], labels[known]
        mix = torch.rand(1, len(same))
        loss, _ = discriminator_loss(
            self.network, real[None], fake[None], same[None], mix=mix, settings=self.settings
        )
        descend(self.optimizer, loss.sum())

    def _save(self, rounds: int) -> None:
        self.rounds = rounds
        state = {"network": self.network.state_dict(), "optimizer": self.optimizer.state_dict()}
        save_state(self.path, {"rounds": rounds, **state})

    def _block(self, rows: Rows, labels: RowLabels) -> Float[Tensor, " features"]:
        """The gradient of every row; nothing for a label that this client has no records of."""
        slopes = input_gradient(self.network, rows[None], labels[None])[0]
        speaks = torch.isin(labels, self.labels) | (not self.party.private.abstain)
        return (slopes * speaks[:, None, None, None]).flatten()

    def _release(self, block: Float[Tensor, " features"], step: int) -> Float[Tensor, " features"]:
        private = self.party.private
        norm = client_norm(private)
        if private.fed_gswgan.noise_at == "server":
            return clip(block[None], norm)[0]
        promise = terms(private)
        with Ledger(self.party.folder / "ledger.jsonl", mechanism(promise)) as ledger:
            ledger.record(step)
        return sanitize(
            block[None, None],
            clip_norm=norm,
            noise_multiplier=promise.event.noise_multiplier,
            source=random_source(secure=private.secure_rng),
        )[0]

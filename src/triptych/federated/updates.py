"""What a client of Fed Avg GAN does: train the server's discriminator on its records, return the change.

Augenstein et al. 2020 (arXiv:1911.06679), Algorithm 1: the client keeps nothing
between rounds.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters
from torch.optim import Adam

from triptych.federated.agreement import Party
from triptych.privacy.sanitize import clip
from triptych.private.budget import client_norm
from triptych.private.ensemble import build_ensemble, pooled
from triptych.private.generators import Generator
from triptych.private.losses import discriminator_loss
from triptych.private.warm_start import BETAS, descend

Weights = Float[Tensor, " parameters"]


def local_update(
    party: Party, generator: Float[Tensor, " forger"], discriminator: Weights, *, step: int
) -> Weights:
    """The change of the discriminator's weights by `local_steps` on this client's records, clipped."""
    private = party.private
    torch.manual_seed(party.random(step))
    forger = Generator(private.generator, party.data)
    vector_to_parameters(generator, forger.parameters())
    network = build_ensemble(1, private.discriminator, party.data)
    vector_to_parameters(discriminator.clone(), network.parameters())  # they share the vector's memory
    optimizer = Adam(network.parameters(), private.discriminator.learning_rate, BETAS)
    records, pool = party.records(), private.discriminator.pool
    for _ in range(party.own.local_steps):
        batch = records.take(torch.randint(len(records), (private.discriminator.batch_size,)).numpy())
        real, labels = torch.from_numpy(batch.images) / 255, torch.from_numpy(batch.labels)
        with torch.no_grad():
            fake = forger(forger.draw_latent(len(labels)), labels)
        loss, _ = discriminator_loss(
            network,
            pooled(real, pool)[None],
            pooled(fake, pool)[None],
            labels[None],
            mix=torch.rand(1, len(labels)),
            settings=private.discriminator,
        )
        descend(optimizer, loss.sum())
    change = parameters_to_vector(network.parameters()).detach() - discriminator
    return clip(change[None], client_norm(private))[0]

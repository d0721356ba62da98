"""DP-MERF AE: DP-MERF on the codes of an autoencoder, whose training is a release as well.

Harder, Adamczewski, Park 2021 (arXiv:2002.11603), as a rival in Chen, Orekondy,
Fritz 2020 (arXiv:2006.08265), section 6. What follows the two releases is
post-processing.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from triptych.config.data import DataConfig
from triptych.config.private import PrivateConfig
from triptych.private.generators import Generator
from triptych.private.rivals.autoencoder import Autoencoder
from triptych.private.rivals.dp_merf import DPMERF
from triptych.private.rivals.embedding import Embedding


class DPMERFAE(DPMERF):
    """One batch is one step of a generator of codes; the decoder stays as it was released."""

    def __init__(
        self, config: PrivateConfig, data: DataConfig, embedding: Embedding, autoencoder: Autoencoder
    ) -> None:
        super().__init__(config, data, embedding)
        self.settings = config.dp_merf_ae
        width, inputs = config.generator.width, config.generator.latent_size + data.classes
        self.first, self.second = nn.Linear(inputs, width), nn.Linear(width, config.dp_merf_ae.codes)
        self.learner = nn.Sequential(self.first, nn.ReLU(), self.second)
        self.autoencoder = autoencoder

    def fakes(self, labels: Int[Tensor, " n"]) -> Float[Tensor, "n inputs"]:
        """Generated codes."""
        latent = self.generator.draw_latent(len(labels))[:, : self.generator.latent_size]
        return self.learner(torch.cat([latent, F.one_hot(labels, self.classes).to(latent.dtype)], dim=1))

    @property
    def released(self) -> Generator:
        """Generator of codes and decoder as one `mlp` generator: two linear layers that meet are one."""
        decoder = self.autoencoder
        with torch.no_grad():
            layers = {
                "0.weight": self.first.weight,
                "0.bias": self.first.bias,
                "2.weight": decoder.entry.weight @ self.second.weight,
                "2.bias": decoder.entry.weight @ self.second.bias + decoder.entry.bias,
                "4.weight": decoder.exit.weight,
                "4.bias": decoder.exit.bias,
            }
        self.generator.body.load_state_dict(layers)
        return self.generator

"""The last layer alone, trained again with every group of the source weighing the same.

"Last layer re-training is sufficient for robustness to spurious correlations"
(Kirichenko, Izmailov, Wilson, arXiv 2204.02937), on the source's own training
images; it needs to know on which of them the spurious feature misleads.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Int64, UInt8
from torch import Tensor, nn

from triptych.robust.networks import Classifier, predict

PENALTY = 1e-3  # of the squared weights: groups of a few dozen images separate perfectly
STEPS = 100


def balanced_weights(misled: Bool[Tensor, " n"]) -> Tensor:
    """Weights that sum to 1, half of it on either group; all on the one that there is."""
    sizes = torch.stack([(~misled).sum(), misled.sum()])
    share = 1 / (sizes > 0).sum()
    return share / sizes[misled.long()]


def retrain_last_layer(
    network: Classifier,
    images: UInt8[Tensor, "n channels height width"],
    labels: Int64[Tensor, " n"],
    misled: Bool[Tensor, " n"],
) -> None:
    """Fit the last layer by L-BFGS, from where it is; the features stay."""
    last = network.linear()[-1]
    whole, network.layers[-1] = network.layers[-1], nn.Identity()
    features = predict(network, images)
    network.layers[-1] = whole
    weights = balanced_weights(misled)
    optimiser = torch.optim.LBFGS(last.parameters(), max_iter=STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        optimiser.zero_grad()
        values = F.cross_entropy(last(features), labels, reduction="none")
        total = (weights * values).sum() + PENALTY * last.weight.square().sum()
        total.backward()
        return total

    optimiser.step(loss)

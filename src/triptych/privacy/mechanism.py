"""What happened: the releases of a method as events, apart from what they cost.

Everywhere `noise_multiplier` is the standard deviation of the noise divided by
the L2 sensitivity. Two data sets are adjacent when one record is replaced; for
an event that names its own `adjacency`, when that is replaced.
"""

import math
from dataclasses import asdict, dataclass, replace
from typing import Any, ClassVar

ADJACENCY = "replace-one record"
CLIENT = "replace-one client, with all its records"


@dataclass(frozen=True)
class Release:
    """`count` Gaussian mechanisms, each applied to a secret `sample_rate` of the shards or records.

    `poisson`: each is drawn on its own; else a fixed number without replacement.
    `beside`: what else is released of the same records.
    """

    noise_multiplier: float
    sample_rate: float
    count: int
    poisson: bool = False
    beside: "Release | None" = None

    @property
    def parts(self) -> tuple["Release", ...]:
        """What is released, each alone."""
        return (replace(self, beside=None), *(self.beside.parts if self.beside else ()))


@dataclass(frozen=True)
class FullEnsemble:
    """At every step all discriminators judge the same rows and the noisy sum of blocks is released.

    Replacing one record changes the clipped block of one discriminator, so a
    step is one Gaussian mechanism; no draw is secret.
    """

    noise_multiplier: float
    steps: int

    accountants: ClassVar[tuple[str, ...]] = ("gdp", "pld", "rdp")
    theorem: ClassVar[str] = (
        "T adaptive Gaussian mechanisms are sqrt(T)/noise_multiplier-GDP "
        "(Dong, Roth, Su 2019, arXiv:1905.02383, Corollary 2)"
    )

    @property
    def release(self) -> Release:
        """One whole Gaussian mechanism a step."""
        return Release(self.noise_multiplier, 1.0, self.steps)


@dataclass(frozen=True)
class IndependentDraws:
    """Every row passes through its own secret, uniform draw of one discriminator.

    Discriminators train on a public schedule, so each row is a Gaussian
    mechanism subsampled 1 out of `discriminators` without replacement.
    """

    noise_multiplier: float
    steps: int
    discriminators: int
    rows: int

    accountants: ClassVar[tuple[str, ...]] = ("pld", "rdp")
    theorem: ClassVar[str] = (
        "amplification by sampling 1 of K without replacement, then composition over rows and steps "
        "(Balle, Barthe, Gaboardi 2018, arXiv:1807.01647, Theorem 9)"
    )

    @property
    def release(self) -> Release:
        """One subsampled mechanism a row."""
        return Release(self.noise_multiplier, 1 / self.discriminators, self.steps * self.rows)


@dataclass(frozen=True)
class SharedDraw:
    """The published algorithm: all rows of a step pass through one drawn discriminator.

    Rows compose first (the noise multiplier of a step is divided by the square
    root of `rows`) and are amplified together. The published analysis amplifies
    each row alone, which holds for `IndependentDraws` only.
    """

    noise_multiplier: float
    steps: int
    discriminators: int
    rows: int

    accountants: ClassVar[tuple[str, ...]] = ("pld", "rdp")
    theorem: ClassVar[str] = (
        "composition over rows, then amplification by sampling 1 of K without replacement "
        "(Balle, Barthe, Gaboardi 2018, arXiv:1807.01647, Theorem 9)"
    )

    @property
    def release(self) -> Release:
        """One subsampled mechanism a step, of all rows together."""
        return Release(self.noise_multiplier / math.sqrt(self.rows), 1 / self.discriminators, self.steps)


@dataclass(frozen=True)
class MeanEmbedding:
    """DP-MERF: the noisy sum of one vector a record is released once; all training is post-processing."""

    noise_multiplier: float
    steps: int = 1  # releases of the whole sum

    accountants: ClassVar[tuple[str, ...]] = ("gdp", "pld", "rdp")
    theorem: ClassVar[str] = (
        "the Gaussian mechanism's exact profile (Balle, Wang 2018, arXiv:1805.06530, Theorem 8); "
        "vectors of norm 1 give sensitivity 2"
    )

    @property
    def release(self) -> Release:
        """One Gaussian mechanism."""
        return Release(self.noise_multiplier, 1.0, self.steps)


@dataclass(frozen=True)
class SampledGradients:
    """DP-SGD: at every step the noisy sum of clipped gradients of a secret Poisson sample of the records."""

    noise_multiplier: float
    steps: int
    sample_rate: float

    accountants: ClassVar[tuple[str, ...]] = ("pld",)
    theorem: ClassVar[str] = (
        "composition of Poisson-subsampled Gaussian mechanisms by privacy loss distributions, a record "
        "replaced by its opposite (Zhu, Dong, Wang 2022, arXiv:2106.08567; dp_accounting REPLACE_ONE)"
    )

    @property
    def release(self) -> Release:
        """One Poisson-subsampled mechanism a step."""
        return Release(self.noise_multiplier, self.sample_rate, self.steps, poisson=True)


@dataclass(frozen=True)
class EncodedEmbedding:
    """DP-MERF AE: an autoencoder trained by DP-SGD, then one noisy sum of embedded codes.

    The last of `steps` is that sum; those before are steps of DP-SGD, whose noise
    multiplier is `gradient_noise` times that of the sum.
    """

    noise_multiplier: float  # of the sum
    steps: int
    sample_rate: float
    gradient_noise: float

    accountants: ClassVar[tuple[str, ...]] = ("pld",)
    theorem: ClassVar[str] = (
        "composition of Poisson-subsampled Gaussian mechanisms and a Gaussian mechanism by privacy loss "
        "distributions, a record replaced by its opposite (Zhu, Dong, Wang 2022, arXiv:2106.08567)"
    )

    @property
    def release(self) -> Release:
        """The steps of DP-SGD and, beside them, the sum."""
        embedding = Release(self.noise_multiplier, 1.0, 1)
        if self.steps == 1:
            return embedding
        noise = self.gradient_noise * self.noise_multiplier
        return Release(noise, self.sample_rate, self.steps - 1, poisson=True, beside=embedding)


@dataclass(frozen=True)
class VoteHistogram:
    """G-PATE: at every step the noisy histogram of the votes of all discriminators is released."""

    noise_multiplier: float
    steps: int

    accountants: ClassVar[tuple[str, ...]] = ("gdp", "pld", "rdp")
    theorem: ClassVar[str] = (
        "T adaptive Gaussian mechanisms on histograms are sqrt(T)/noise_multiplier-GDP, whatever the votes "
        "(Dong, Roth, Su 2019, arXiv:1905.02383, Corollary 2)"
    )

    @property
    def release(self) -> Release:
        """One whole Gaussian mechanism a step, of all its votes together."""
        return Release(self.noise_multiplier, 1.0, self.steps)


@dataclass(frozen=True)
class ClientGradients:
    """Federated GS-WGAN: in every round all clients judge the same rows and their noisy sum is used.

    Replacing one client, with all its records, changes its own clipped block,
    and later blocks of others only through what was released. Noise at the
    `server`: a round is one Gaussian mechanism towards everybody but the server.
    Noise at the `client`: every client's own blocks are Gaussian mechanisms,
    towards the server too.
    """

    noise_multiplier: float
    steps: int
    noise_at: str

    adjacency: ClassVar[str] = CLIENT
    accountants: ClassVar[tuple[str, ...]] = ("gdp", "pld", "rdp")
    theorem: ClassVar[str] = (
        "T adaptive Gaussian mechanisms are sqrt(T)/noise_multiplier-GDP at the level of clients "
        "(Dong, Roth, Su 2019, arXiv:1905.02383, Corollary 2)"
    )

    @property
    def release(self) -> Release:
        """One whole Gaussian mechanism a round."""
        return Release(self.noise_multiplier, 1.0, self.steps)


@dataclass(frozen=True)
class ClientUpdates:
    """Fed Avg GAN: in every round the noisy sum of clipped updates of a secret Poisson sample of clients.

    Clients keep nothing between rounds, so an update is a function of the
    client's records and of earlier releases alone: sampling amplifies.
    """

    noise_multiplier: float
    steps: int
    sample_rate: float

    adjacency: ClassVar[str] = CLIENT
    accountants: ClassVar[tuple[str, ...]] = ("pld",)
    theorem: ClassVar[str] = (
        "composition of Poisson-subsampled Gaussian mechanisms by privacy loss distributions at the level of "
        "clients (Zhu, Dong, Wang 2022, arXiv:2106.08567; McMahan et al. 2018, arXiv:1710.06963)"
    )

    @property
    def release(self) -> Release:
        """One mechanism a round; a whole Gaussian one where every client takes part."""
        return Release(self.noise_multiplier, self.sample_rate, self.steps, poisson=self.sample_rate < 1)


Event = (
    FullEnsemble
    | IndependentDraws
    | SharedDraw
    | MeanEmbedding
    | SampledGradients
    | EncodedEmbedding
    | VoteHistogram
    | ClientGradients
    | ClientUpdates
)


def describe(event: Event) -> dict[str, Any]:
    """The event as JSON: mechanism, adjacency, theorem and parameters."""
    return {
        "mechanism": type(event).__name__,
        "adjacency": getattr(event, "adjacency", ADJACENCY),
        "theorem": event.theorem,
        **asdict(event),
    }

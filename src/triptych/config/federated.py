"""Schema of the federated methods; `private.method` chooses one.

Every client holds its own records, and privacy is that of a whole client. They
share networks, rows, delta, budget and evaluation with GS-WGAN. A noise
multiplier of null is computed from `private.epsilon_budget`.
"""

from dataclasses import dataclass

from triptych.config.checks import MISSING, choice, equal_shards, positive, require
from triptych.config.data import DataConfig
from triptych.config.rivals import check_noise


@dataclass
class FederatedConfig:
    """What both methods share."""

    clients: int = MISSING  # the data's own number, or into how many equal parts its records are dealt
    steps: int = MISSING  # rounds; each is released
    local_steps: int = MISSING  # of the client's discriminator in one round
    timeout: float = MISSING  # seconds until a client that has not answered is left out of the round
    noise_multiplier: float | None = None

    def check_shared(self, key: str) -> None:
        """Raise ConfigError where a value is impossible; `key` is where the values lie."""
        for name in ("clients", "steps", "local_steps", "timeout"):
            positive(f"{key}.{name}", getattr(self, name))
        check_noise(f"{key}.noise_multiplier", self.noise_multiplier)

    def check_data(self, key: str, data: DataConfig) -> None:
        """Raise ConfigError where records cannot be dealt to that many clients."""
        if data.clients is None:
            equal_shards(f"{key}.clients", self.clients, data.train_size)
            return
        require(
            self.clients == data.clients,
            f"{key}.clients={self.clients}, but {data.name} comes with data.clients={data.clients} of its "
            "own; set them equal",
        )


@dataclass
class FedGSWGANConfig(FederatedConfig):
    """One discriminator a client, that never leaves it; rows go down, their gradients come up."""

    noise_at: str = MISSING  # server: it is trusted with clipped gradients; client: it is not

    def check(self) -> None:
        self.check_shared("private.fed_gswgan")
        choice("private.fed_gswgan.noise_at", self.noise_at, ("server", "client"))


@dataclass
class FedAvgGANConfig(FederatedConfig):
    """Both networks go down, updates of the discriminator come up; the server trains the generator."""

    sample_rate: float = MISSING  # of the clients, drawn by the server in secret each round
    clip_norm: float = MISSING  # of one client's update
    server_rate: float = MISSING  # the mean update is scaled by it
    generator_steps: int = MISSING  # at the server, after each round

    def check(self) -> None:
        key = "private.fed_avg_gan"
        self.check_shared(key)
        for name in ("sample_rate", "clip_norm", "server_rate", "generator_steps"):
            positive(f"{key}.{name}", getattr(self, name))
        require(self.sample_rate <= 1, f"{key}.sample_rate={self.sample_rate} must be at most 1")

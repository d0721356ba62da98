"""Schema of the methods that GS-WGAN is compared with; `private.method` chooses one.

They share generator, delta, budget and evaluation with GS-WGAN. A noise
multiplier of null is computed from `private.epsilon_budget`.
"""

from dataclasses import dataclass

from triptych.config.checks import MISSING, positive, require


def check_noise(key: str, noise_multiplier: float | None) -> None:
    """Raise ConfigError for noise that promises nothing."""
    require(
        noise_multiplier is None or noise_multiplier > 0,
        f"{key}={noise_multiplier} must be above 0, or null: computed from private.epsilon_budget",
    )


@dataclass
class DPMERFConfig:
    """One noisy mean embedding, to which a generator is fitted."""

    features: int = MISSING  # of the random Fourier embedding; even
    length_scale: float = MISSING  # of the Gaussian kernel, in root mean square difference of a pixel
    steps: int = MISSING  # of the generator: free of charge
    batch_size: int = MISSING
    learning_rate: float = MISSING
    noise_multiplier: float | None = None

    def check(self) -> None:
        for key in ("features", "length_scale", "steps", "batch_size", "learning_rate"):
            positive(f"private.dp_merf.{key}", getattr(self, key))
        require(self.features % 2 == 0, f"private.dp_merf.features={self.features} must be even")
        check_noise("private.dp_merf.noise_multiplier", self.noise_multiplier)

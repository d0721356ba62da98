"""Schema of the methods that GS-WGAN is compared with; `private.method` chooses one.

They share generator, delta, budget and evaluation with GS-WGAN. A noise
multiplier of null is computed from `private.epsilon_budget`.
"""

from dataclasses import dataclass

from triptych.config.checks import MISSING, choice, positive, require


def check_noise(key: str, noise_multiplier: float | None) -> None:
    """Raise ConfigError for noise that promises nothing."""
    require(
        noise_multiplier is None or noise_multiplier > 0,
        f"{key}={noise_multiplier} must be above 0, or null: computed from private.epsilon_budget",
    )


@dataclass
class DPMERFConfig:
    """One noisy mean embedding, to which a generator is fitted."""

    key = "private.dp_merf"
    features: int = MISSING  # of the random Fourier embedding; even
    length_scale: float = MISSING  # of the Gaussian kernel, in root mean square difference of a pixel
    steps: int = MISSING  # of the generator: free of charge
    batch_size: int = MISSING
    learning_rate: float = MISSING
    noise_multiplier: float | None = None

    def check(self) -> None:
        for key in ("features", "length_scale", "steps", "batch_size", "learning_rate"):
            positive(f"{self.key}.{key}", getattr(self, key))
        require(self.features % 2 == 0, f"{self.key}.features={self.features} must be even")
        check_noise(f"{self.key}.noise_multiplier", self.noise_multiplier)


@dataclass
class DPMERFAEConfig(DPMERFConfig):
    """The same on codes of an autoencoder trained by DP-SGD; `noise_multiplier` is that of the embedding."""

    key = "private.dp_merf_ae"
    codes: int = MISSING  # values of a code
    encoder_steps: int = MISSING  # of the autoencoder, each released
    encoder_learning_rate: float = MISSING
    sample_rate: float = MISSING  # of the records, in one of these steps
    clip_norm: float = MISSING  # of one record's gradient
    gradient_noise: float = MISSING  # noise multiplier of these steps / that of the embedding

    def check(self) -> None:
        super().check()
        for name in (
            "codes",
            "encoder_steps",
            "encoder_learning_rate",
            "sample_rate",
            "clip_norm",
            "gradient_noise",
        ):
            positive(f"{self.key}.{name}", getattr(self, name))
        require(self.sample_rate <= 1, f"{self.key}.sample_rate={self.sample_rate} must be at most 1")


@dataclass
class DPSGDGANConfig:
    """One discriminator trained by DP-SGD."""

    loss: str = MISSING  # logistic, or wasserstein with clipped weights
    kind: str = MISSING  # of the discriminator: mlp, conv
    width: int = MISSING  # hidden units (mlp), channels of the first convolution (conv)
    sample_rate: float = MISSING  # of the records, in one step
    steps: int = MISSING  # of the discriminator, each released
    discriminator_steps: int = MISSING  # before each generator step
    rows: int = MISSING  # generated images in a step
    learning_rate: float = MISSING  # of the discriminator
    generator_learning_rate: float = MISSING
    clip_norm: float = MISSING  # of one record's gradient
    weight_bound: float = MISSING  # of each weight; wasserstein only
    noise_multiplier: float | None = None  # standard deviation / (2 * clip_norm)
    pool: int = 1  # the discriminator sees means of pool x pool pixels: fewer weights, less noise
    labels: str = "planes"  # one image a class; onehot: one value a class beside the pixels, mlp only
    label_scale: float = 1.0  # norm of what it sees of a label; that of an image of MNIST is 9, pooled 4.3
    clip_fakes: bool = False  # the gradient of each fake as that of each record

    def check(self) -> None:
        key = "private.dp_sgd_gan"
        choice(f"{key}.loss", self.loss, ("logistic", "wasserstein"))
        choice(f"{key}.kind", self.kind, ("mlp", "conv"))
        for name in (
            "width",
            "sample_rate",
            "steps",
            "discriminator_steps",
            "rows",
            "learning_rate",
            "generator_learning_rate",
            "clip_norm",
            "weight_bound",
            "pool",
            "label_scale",
        ):
            positive(f"{key}.{name}", getattr(self, name))
        choice(f"{key}.labels", self.labels, ("planes", "onehot"))
        require(
            self.labels == "planes" or self.kind == "mlp",
            f"{key}.labels={self.labels} needs kind=mlp, not {self.kind}; set planes",
        )
        require(self.sample_rate <= 1, f"{key}.sample_rate={self.sample_rate} must be at most 1")
        check_noise(f"{key}.noise_multiplier", self.noise_multiplier)


@dataclass
class GPATEConfig:
    """Votes of the discriminators of `private.discriminators`; rows and schedule are those of GS-WGAN."""

    steps: int = MISSING  # of the generator, each released
    directions: int = MISSING  # random projections of a row's gradient
    bins: int = MISSING  # of the projected values
    bound: float = MISSING  # the outer edges of the bins are -bound and bound
    threshold: float = MISSING  # share of the discriminators that must agree; below it a value counts as 0
    noise_multiplier: float | None = None  # standard deviation / sqrt(2 * rows * directions)

    def check(self) -> None:
        for name in ("steps", "directions", "bins", "bound"):
            positive(f"private.gpate.{name}", getattr(self, name))
        require(
            0 <= self.threshold < 1, f"private.gpate.threshold={self.threshold} must be a share in [0, 1)"
        )
        check_noise("private.gpate.noise_multiplier", self.noise_multiplier)

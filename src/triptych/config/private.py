"""Schema of GS-WGAN and its privacy."""

from dataclasses import dataclass, field

from triptych.config.checks import MISSING, choice, equal_shards, positive, require
from triptych.config.data import DataConfig
from triptych.config.federated import FedAvgGANConfig, FedGSWGANConfig
from triptych.config.rivals import (
    DPMERFAEConfig,
    DPMERFConfig,
    DPSGDGANConfig,
    GPATEConfig,
    check_noise,
)

METHODS = ("gswgan", "dp_merf", "dp_merf_ae", "dp_sgd_gan", "gpate", "fed_gswgan", "fed_avg_gan")
FEDERATED = ("fed_gswgan", "fed_avg_gan")

TIGHTEST = "tightest"
ACCOUNTANTS = {  # of each release, the tightest first
    "full": ("gdp", "pld", "rdp"),
    "independent": ("pld", "rdp"),
    "shared": ("pld", "rdp"),
}


def check_strength(name: str, strength: float) -> None:
    """Raise ConfigError where `strength` of a distortion is outside of [0, 1]."""
    require(0 <= strength <= 1, f"{name}={strength} must lie in [0, 1]; 0 changes no drawing")


@dataclass
class GeneratorConfig:
    """The network that is released."""

    kind: str = MISSING  # mlp; resnet and dcgan are the paper's
    width: int = MISSING  # hidden units (mlp), a quarter of the widest channels (resnet, dcgan)
    latent: str = "bernoulli"
    latent_size: int = 10
    learning_rate: float = MISSING
    average: float = MISSING  # decay of the moving average of its weights
    distortion: float = 0.0  # a random pose a drawing, 0 to 1: turned, sheared, scaled, shifted, bent
    upsample: int = 1  # mlp: it draws a smaller image, enlarged this many times without a parameter

    def check(self) -> None:
        choice("private.generator.kind", self.kind, ("mlp", "resnet", "dcgan"))
        choice("private.generator.latent", self.latent, ("bernoulli", "normal"))
        require(
            self.upsample == 1 or self.kind == "mlp",
            f"private.generator.upsample={self.upsample} needs kind=mlp, not {self.kind}; set 1",
        )
        for key in ("width", "latent_size", "learning_rate", "upsample"):
            positive(f"private.generator.{key}", getattr(self, key))
        require(0 <= self.average < 1, f"private.generator.average={self.average} must be in [0, 1)")
        check_strength("private.generator.distortion", self.distortion)


@dataclass
class DiscriminatorConfig:
    """One network of the ensemble; all are alike."""

    kind: str = MISSING  # mlp; conv is the paper's
    width: int = MISSING  # hidden units (mlp), channels of the first convolution (conv)
    batch_size: int = MISSING  # images of its shard in one step
    learning_rate: float = MISSING
    gradient_penalty: float = 10.0
    drift: float = 0.001
    chunk: int | None = None  # how many are computed at once, to save memory; null: all
    trained: int | None = None  # how many train at a step, in public rotation; null: all
    label_scale: float = 1.0  # of the one-hot label beside the pixels; mlp only
    pool: int = 1  # they see means of pool x pool pixels, so that a release has pool**2 times fewer values

    def check(self) -> None:
        choice("private.discriminator.kind", self.kind, ("mlp", "conv"))
        for key in ("width", "batch_size", "learning_rate", "label_scale", "pool"):
            positive(f"private.discriminator.{key}", getattr(self, key))
        require(
            self.label_scale == 1 or self.kind == "mlp",
            f"private.discriminator.label_scale={self.label_scale} needs kind=mlp, not {self.kind}; set 1",
        )
        for key in ("chunk", "trained"):
            value = getattr(self, key)
            require(
                value is None or value > 0, f"private.discriminator.{key}={value} must be above 0, or null"
            )


@dataclass
class WarmStartConfig:
    """Training of each discriminator against a small throw-away generator of its own."""

    steps: int = MISSING
    width: int = MISSING  # hidden units of the throw-away generators
    learning_rate: float = MISSING
    discriminator_steps: int = 1  # before each step of the throw-away generators

    def check(self) -> None:
        require(self.steps >= 0, f"private.warm_start.steps={self.steps} must not be negative")
        for key in ("width", "learning_rate", "discriminator_steps"):
            positive(f"private.warm_start.{key}", getattr(self, key))


@dataclass
class RepulsionConfig:
    """How strongly drawings of one label push each other apart; 1 is the slope of a discriminator."""

    weight: float = 0.0
    start: int = 0  # the step up to which labels are learned alone
    full: int = 0  # the step from which it has its whole weight; a straight line between

    def check(self) -> None:
        require(self.weight >= 0, f"private.repulsion.weight={self.weight} must not be negative")
        require(
            0 <= self.start <= self.full,
            f"private.repulsion.start={self.start} must lie between 0 and full={self.full}",
        )


@dataclass
class EvaluationConfig:
    """How many images the slow scores are computed on."""

    images: int = MISSING  # of each side of FID, KID, precision and recall, at most
    suite_size: int = MISSING  # training images of the scikit-learn suite, real or synthetic, at most

    def check(self) -> None:
        for key in ("images", "suite_size"):
            positive(f"private.evaluation.{key}", getattr(self, key))


@dataclass
class ClassifierConfig:
    """The CNN that judges samples: as reference (trained on real) and downstream (on synthetic)."""

    width: int = MISSING
    epochs: int = MISSING
    batch_size: int = MISSING
    learning_rate: float = MISSING
    optimizer: str = "adam"  # sgd: with momentum 0.9, the published one
    weight_decay: float = 0.0
    decay_epoch: int | None = None  # after which the learning rate is a tenth; null: never

    def check(self) -> None:
        choice("private.classifier.optimizer", self.optimizer, ("adam", "sgd"))
        require(
            self.weight_decay >= 0,
            f"private.classifier.weight_decay={self.weight_decay} must not be negative",
        )
        require(
            self.decay_epoch is None or 0 < self.decay_epoch < self.epochs,
            f"private.classifier.decay_epoch={self.decay_epoch} must lie between 0 and "
            f"private.classifier.epochs={self.epochs}",
        )
        for key in ("width", "epochs", "batch_size", "learning_rate"):
            positive(f"private.classifier.{key}", getattr(self, key))


@dataclass
class PrivateConfig:
    """GS-WGAN: networks, schedule and privacy (the paper's symbols in brackets); its rivals by name."""

    method: str = "gswgan"
    dp_merf: DPMERFConfig = field(default_factory=DPMERFConfig)
    dp_merf_ae: DPMERFAEConfig = field(default_factory=DPMERFAEConfig)
    dp_sgd_gan: DPSGDGANConfig = field(default_factory=DPSGDGANConfig)
    gpate: GPATEConfig = field(default_factory=GPATEConfig)
    fed_gswgan: FedGSWGANConfig = field(default_factory=FedGSWGANConfig)
    fed_avg_gan: FedAvgGANConfig = field(default_factory=FedAvgGANConfig)
    discriminators: int = MISSING  # [K], each on a shard of its own
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    warm_start: WarmStartConfig = field(default_factory=WarmStartConfig)
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    steps: int = MISSING  # [T] generator steps
    rows: int = MISSING  # [B] generated images in a step
    discriminator_steps: int = MISSING  # before each generator step
    impostors: int = 0  # of the fakes of a batch: real images of the shard under a wrong label
    repulsion: RepulsionConfig = field(default_factory=RepulsionConfig)
    final_rate: float = 1.0  # share of the generator's learning rate that is left at the last step
    release: str = "full"  # all judge all rows; independent: a secret draw a row; shared: a draw a step
    abstain: bool = True  # discriminators say nothing about labels that their shard lacks
    clip_norm: float = 1.0  # [C] of one row's gradient
    noise_multiplier: float | None = None  # [sigma] std / sensitivity; null: from the budget
    delta: float = 1e-5
    accountant: str = "tightest"  # whose epsilon is reported and held to the budget
    epsilon_budget: float = MISSING
    secure_rng: bool = False  # noise and secret draws from the operating system; not repeatable
    samples_per_class: int = MISSING
    sample_distortion: float = 0.0  # as `generator.distortion`, after training: discriminators never see it
    inception: str | None = None  # path of torch-fidelity's Inception-v3 weights, for the published FID

    def check(self) -> None:
        """Raise ConfigError where a value is impossible."""
        choice("private.method", self.method, METHODS)
        networks = (self.generator, self.discriminator, self.warm_start)
        for section in (*networks, self.repulsion, self.classifier, self.evaluation):
            section.check()
        self._check_method()
        for key in (
            "steps",
            "rows",
            "discriminator_steps",
            "clip_norm",
            "epsilon_budget",
            "samples_per_class",
        ):
            positive(f"private.{key}", getattr(self, key))
        check_noise("private.noise_multiplier", self.noise_multiplier)
        check_strength("private.sample_distortion", self.sample_distortion)
        require(
            0 <= self.impostors < self.discriminator.batch_size,
            f"private.impostors={self.impostors} must lie between 0 and "
            f"private.discriminator.batch_size={self.discriminator.batch_size}: some fakes must be drawn",
        )
        require(0 < self.final_rate <= 1, f"private.final_rate={self.final_rate} must be in (0, 1]")
        require(0 < self.delta < 1, f"private.delta={self.delta} must lie between 0 and 1, such as 1e-5")
        choice("private.release", self.release, tuple(ACCOUNTANTS))
        allowed = ACCOUNTANTS[self.release]
        require(
            self.accountant in (TIGHTEST, *allowed),
            f"private.accountant={self.accountant} has no theorem for private.release={self.release}; "
            f"choose one of {', '.join((TIGHTEST, *allowed))}",
        )

    def _check_method(self) -> None:
        """The chosen rival's own section."""
        if self.method != "gswgan":
            getattr(self, self.method).check()
        require(
            self.method != "dp_merf_ae" or self.generator.kind == "mlp",
            f"private.generator.kind={self.generator.kind} must be mlp with private.method=dp_merf_ae: "
            "its decoder is a part of an mlp generator",
        )

    @property
    def accounted_by(self) -> str:
        """The accountant that `tightest` stands for: the first of the release's."""
        return ACCOUNTANTS[self.release][0] if self.accountant == TIGHTEST else self.accountant

    def check_data(self, data: DataConfig) -> None:
        """Raise ConfigError where the data set and these values exclude each other."""
        self._check_factors(data)
        if self.method in FEDERATED:
            own = getattr(self, self.method)
            own.check_data(f"private.{self.method}", data)
            self._check_delta("client", f"private.{self.method}.clients", own.clients)
            self._check_generator(data)
            return
        equal_shards("private.discriminators", self.discriminators, data.train_size)
        shard = data.train_size // self.discriminators
        trained = self.discriminator.trained or self.discriminators
        require(
            self.discriminators % trained == 0,
            f"private.discriminator.trained={trained} must divide private.discriminators="
            f"{self.discriminators}: groups of equal size take turns",
        )
        require(
            self.discriminator.batch_size <= shard,
            f"private.discriminator.batch_size={self.discriminator.batch_size} exceeds the {shard} images "
            "of a shard",
        )
        self._check_delta("record", "data.train_size", data.train_size)
        self._check_generator(data)

    def _check_factors(self, data: DataConfig) -> None:
        """Scales must divide the image."""
        factors = {
            "generator.upsample": self.generator.upsample,
            "discriminator.pool": self.discriminator.pool,
        }
        if self.method == "dp_sgd_gan":
            factors["dp_sgd_gan.pool"] = self.dp_sgd_gan.pool
        for key, factor in factors.items():
            require(
                data.image_size % factor == 0,
                f"private.{key}={factor} does not divide data.image_size={data.image_size}",
            )

    def _check_delta(self, whose: str, key: str, size: int) -> None:
        require(
            self.delta < 1 / size,
            f"private.delta={self.delta} must be below 1/{key}={1 / size:.3g}: "
            f"a larger one allows publishing a whole {whose}",
        )

    def _check_generator(self, data: DataConfig) -> None:
        require(
            self.generator.kind != "dcgan" or data.image_size == 28,
            f"private.generator.kind=dcgan makes 28x28 images, data.image_size={data.image_size}; "
            "choose mlp or resnet",
        )

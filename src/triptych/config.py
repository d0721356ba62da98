"""The typed schema of every config group, and the checks on its values.

`conf/` holds the values; this file says which keys exist, their types, and what
is impossible. `load` is the one way from Hydra's mapping to a `Config`: a
mistyped key or an impossible value raises ConfigError before any work starts.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from triptych.errors import ConfigError

MISSING: Any = "???"


def require(condition: bool, message: str) -> None:
    """Raise ConfigError with `message` unless `condition` holds."""
    if not condition:
        raise ConfigError(message)


def choice(key: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise ConfigError unless `value` is one of `allowed`."""
    require(value in allowed, f"{key}={value} is unknown; choose one of {', '.join(allowed)}")


def positive(key: str, value: float) -> None:
    """Raise ConfigError unless `value` is above zero."""
    require(value > 0, f"{key}={value} must be above 0")


def equal_shards(key: str, shards: int, size: int) -> None:
    """Raise ConfigError that names the nearest divisors unless `shards` divides `size`."""
    if shards >= 1 and size % shards == 0:
        return
    divisors = [d for d in range(1, size + 1) if size % d == 0]
    below = max(d for d in divisors if d <= max(shards, 1))
    above = min(d for d in divisors if d >= min(shards, size))
    nearest = " and ".join(str(d) for d in sorted({below, above}))
    raise ConfigError(
        f"{key}={shards} does not cut data.train_size={size} into equal shards; nearest: {nearest}"
    )


@dataclass
class DataConfig:
    """The data set: a private training split and a test split of labelled images."""

    name: str = MISSING
    image_size: int = MISSING
    channels: int = 1
    classes: int = 10
    train_size: int = MISSING
    test_size: int = MISSING
    split_seed: int = 0

    def check(self) -> None:
        choice("data.name", self.name, ("digits", "mnist", "fashion_mnist"))
        for key in ("image_size", "channels", "classes", "train_size", "test_size"):
            positive(f"data.{key}", getattr(self, key))


@dataclass
class GeneratorConfig:
    """The network that is released."""

    kind: str = MISSING  # mlp; resnet and dcgan are the paper's
    width: int = MISSING  # hidden units (mlp), a quarter of the widest channels (resnet, dcgan)
    latent: str = "bernoulli"
    latent_size: int = 10
    learning_rate: float = MISSING
    average: float = MISSING  # decay of the moving average of its weights

    def check(self) -> None:
        choice("private.generator.kind", self.kind, ("mlp", "resnet", "dcgan"))
        choice("private.generator.latent", self.latent, ("bernoulli", "normal"))
        for key in ("width", "latent_size", "learning_rate"):
            positive(f"private.generator.{key}", getattr(self, key))
        require(0 <= self.average < 1, f"private.generator.average={self.average} must be in [0, 1)")


@dataclass
class DiscriminatorConfig:
    """One network of the ensemble; all are alike."""

    kind: str = MISSING  # mlp; conv is the paper's
    width: int = MISSING  # hidden units (mlp), channels of the first convolution (conv)
    batch_size: int = MISSING  # images of its shard in one step
    learning_rate: float = MISSING
    gradient_penalty: float = 10.0
    drift: float = 0.001

    def check(self) -> None:
        choice("private.discriminator.kind", self.kind, ("mlp", "conv"))
        for key in ("width", "batch_size", "learning_rate"):
            positive(f"private.discriminator.{key}", getattr(self, key))


@dataclass
class WarmStartConfig:
    """Training of each discriminator against a small throw-away generator of its own."""

    steps: int = MISSING
    width: int = MISSING  # hidden units of the throw-away generators
    learning_rate: float = MISSING

    def check(self) -> None:
        require(self.steps >= 0, f"private.warm_start.steps={self.steps} must not be negative")
        for key in ("width", "learning_rate"):
            positive(f"private.warm_start.{key}", getattr(self, key))


@dataclass
class ClassifierConfig:
    """The CNN that judges samples: as reference (trained on real) and downstream (on synthetic)."""

    width: int = MISSING
    epochs: int = MISSING
    batch_size: int = MISSING
    learning_rate: float = MISSING

    def check(self) -> None:
        for key in ("width", "epochs", "batch_size", "learning_rate"):
            positive(f"private.classifier.{key}", getattr(self, key))


@dataclass
class PrivateConfig:
    """GS-WGAN: networks, schedule and privacy (the paper's symbols in brackets)."""

    discriminators: int = MISSING  # [K], each on a shard of its own
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    warm_start: WarmStartConfig = field(default_factory=WarmStartConfig)
    classifier: ClassifierConfig = field(default_factory=ClassifierConfig)
    steps: int = MISSING  # [T] generator steps
    rows: int = MISSING  # [B] generated images in a step
    discriminator_steps: int = MISSING  # before each generator step
    release: str = "full"  # full: all discriminators judge all rows; independent: one secret draw a row
    abstain: bool = True  # discriminators say nothing about labels that their shard lacks
    clip_norm: float = 1.0  # [C] of one row's gradient
    noise_multiplier: float = MISSING  # [sigma] standard deviation / sensitivity
    delta: float = 1e-5
    accountant: str = "gdp"  # whose epsilon is reported and held to the budget
    epsilon_budget: float = MISSING
    secure_rng: bool = False  # noise and secret draws from the operating system; not repeatable
    samples_per_class: int = MISSING

    def check(self) -> None:
        """Raise ConfigError where a value is impossible."""
        for section in (self.generator, self.discriminator, self.warm_start, self.classifier):
            section.check()
        for key in (
            "steps",
            "rows",
            "discriminator_steps",
            "clip_norm",
            "epsilon_budget",
            "samples_per_class",
        ):
            positive(f"private.{key}", getattr(self, key))
        require(
            self.noise_multiplier > 0,
            f"private.noise_multiplier={self.noise_multiplier} must be above 0: no noise, no epsilon",
        )
        require(0 < self.delta < 1, f"private.delta={self.delta} must lie between 0 and 1, such as 1e-5")
        accountants = {"full": ("gdp", "pld", "rdp"), "independent": ("pld", "rdp")}
        choice("private.release", self.release, tuple(accountants))
        allowed = accountants[self.release]
        require(
            self.accountant in allowed,
            f"private.accountant={self.accountant} has no theorem for private.release={self.release}; "
            f"choose one of {', '.join(allowed)}",
        )

    def check_data(self, data: DataConfig) -> None:
        """Raise ConfigError where the data set and these values exclude each other."""
        equal_shards("private.discriminators", self.discriminators, data.train_size)
        shard = data.train_size // self.discriminators
        require(
            self.discriminator.batch_size <= shard,
            f"private.discriminator.batch_size={self.discriminator.batch_size} exceeds the {shard} images "
            "of a shard",
        )
        require(
            self.delta < 1 / data.train_size,
            f"private.delta={self.delta} must be below 1/data.train_size={1 / data.train_size:.3g}: "
            "a larger one allows publishing a whole record",
        )
        require(
            self.generator.kind != "dcgan" or data.image_size == 28,
            f"private.generator.kind=dcgan makes 28x28 images, data.image_size={data.image_size}; "
            "choose mlp or resnet",
        )


@dataclass
class ShiftConfig:
    """The spurious colour, and how the training split is divided."""

    ways: int = MISSING  # 10: the label is the class; 2: whether the class is below 5
    p: float = MISSING  # probability that a source colour follows the label
    source_train_size: int = MISSING
    source_test_size: int = MISSING

    def check(self) -> None:
        require(self.ways in (2, 10), f"robust.shift.ways={self.ways} is unknown; choose 2 or 10")
        require(0 <= self.p <= 1, f"robust.shift.p={self.p} must be a probability from 0 to 1")
        for key in ("source_train_size", "source_test_size"):
            positive(f"robust.shift.{key}", getattr(self, key))

    def check_data(self, train_size: int) -> None:
        """Raise ConfigError unless the source fits into the first half of the training split."""
        needed = self.source_train_size + self.source_test_size
        require(
            needed <= train_size // 2,
            f"robust.shift.source_train_size={self.source_train_size} and source_test_size="
            f"{self.source_test_size} exceed the source's part, half of data.train_size={train_size}",
        )


@dataclass
class SgdConfig:
    """Stochastic gradient descent with momentum."""

    epochs: int = MISSING
    batch_size: int = MISSING
    learning_rate: float = MISSING
    momentum: float = MISSING
    weight_decay: float = MISSING

    def check(self, group: str) -> None:
        for key in ("epochs", "batch_size", "learning_rate"):
            positive(f"{group}.{key}", getattr(self, key))
        require(0 <= self.momentum < 1, f"{group}.momentum={self.momentum} must be at least 0 and below 1")
        require(self.weight_decay >= 0, f"{group}.weight_decay={self.weight_decay} must not be negative")


@dataclass
class SourceConfig(SgdConfig):
    """Training on the labelled source; `reweight` above 1 repeats what the network gets wrong."""

    reweight: float = MISSING  # weight of a source example misclassified after `reweight_after` epochs
    reweight_after: int = MISSING
    poly: float = 0.0  # PolyLoss: cross entropy plus `poly` (1 - p of the label)

    def check(self, group: str) -> None:
        super().check(group)
        require(self.poly >= 0, f"{group}.poly={self.poly} must not be negative")
        require(self.reweight >= 1, f"{group}.reweight={self.reweight} must be at least 1; 1 switches it off")
        require(
            1 <= self.reweight_after < self.epochs or self.reweight == 1,
            f"{group}.reweight_after={self.reweight_after} must be from 1 to below epochs={self.epochs}",
        )


@dataclass
class AdaptConfig(SgdConfig):
    """The budget of self-training, the same for every objective."""

    source_weight: float = MISSING  # of the labelled source loss beside it; 0 leaves it out

    def check(self, group: str) -> None:
        super().check(group)
        require(self.source_weight >= 0, f"{group}.source_weight={self.source_weight} must not be negative")


@dataclass
class PseudoLabelConfig:
    """Training on the network's own target predictions, renewed every `epochs / rounds` epochs."""

    rounds: int = MISSING
    threshold: float = MISSING  # least confidence of a pseudo-label that is used
    balance: bool = MISSING  # give every predicted class the same total weight
    soft: bool = MISSING  # probabilities instead of the most probable class

    def check(self, epochs: int) -> None:
        group = "robust.pseudo_label"
        positive(f"{group}.rounds", self.rounds)
        require(
            epochs % self.rounds == 0,
            f"{group}.rounds={self.rounds} must divide robust.adapt.epochs={epochs} into whole rounds",
        )
        require(0 <= self.threshold < 1, f"{group}.threshold={self.threshold} must be at least 0 and below 1")


@dataclass
class MatchConfig:
    """FixMatch and AdaMatch: the plain view of a target image teaches its strong view."""

    threshold: float = MISSING  # FixMatch: least confidence of a prediction that teaches
    relative_threshold: float = MISSING  # AdaMatch: the same, as a share of the mean confidence on the source
    gain: float = MISSING  # strong view: each channel times a factor from 1 - gain to 1 + gain

    def check(self) -> None:
        for key in ("threshold", "relative_threshold", "gain"):
            value = getattr(self, key)
            require(0 <= value <= 1, f"robust.match.{key}={value} must be from 0 to 1")


@dataclass
class TrustConfig:
    """Limits of the verdict on self-training that is given before it, without target labels."""

    accuracy: float = MISSING  # least estimated accuracy of the source classifier on the target
    class_share_distance: float = MISSING  # most total variation of the predicted class shares
    shrinking_share: float = MISSING  # least share of the target on which the theory is favourable

    def check(self) -> None:
        for key in ("accuracy", "class_share_distance", "shrinking_share"):
            value = getattr(self, key)
            require(0 <= value <= 1, f"robust.trust.{key}={value} must be from 0 to 1")


OBJECTIVES = (
    "pseudo_label",
    "entropy",
    "information_maximisation",
    "conjugate",
    "tent",
    "fixmatch",
    "adamatch",
)


@dataclass
class RobustConfig:
    """Self-training under a spurious colour."""

    shift: ShiftConfig = field(default_factory=ShiftConfig)
    hidden: list[int] = MISSING  # widths of the hidden layers
    batch_norm: bool = False  # normalise before each ReLU
    seeds: int = MISSING  # repetitions, each with its own colours, weights and order
    source: SourceConfig = field(default_factory=SourceConfig)
    objective: str = MISSING  # whose classifier is the result
    rivals: list[str] = MISSING  # objectives that are trained and reported beside it
    adapt: AdaptConfig = field(default_factory=AdaptConfig)
    pseudo_label: PseudoLabelConfig = field(default_factory=PseudoLabelConfig)
    match: MatchConfig = field(default_factory=MatchConfig)
    trust: TrustConfig = field(default_factory=TrustConfig)
    redraws: int = MISSING  # fresh colours of each test image in the diagnosis

    @property
    def objectives(self) -> list[str]:
        """What is trained: the rivals, then `objective` unless it is among them."""
        return list(dict.fromkeys([*self.rivals, self.objective]))

    def check(self) -> None:
        choice("robust.objective", self.objective, OBJECTIVES)
        for name in self.rivals:
            choice("robust.rivals", name, OBJECTIVES)
        require(
            "tent" not in self.objectives or self.batch_norm,
            "robust.objective=tent trains the parameters of batch normalisation alone, and the network has "
            "none; set robust.batch_norm=true",
        )
        for key in ("seeds", "redraws"):
            positive(f"robust.{key}", getattr(self, key))
        for width in self.hidden:
            require(width > 0, f"robust.hidden={self.hidden}: {width} must be above 0")
        self.shift.check()
        self.source.check("robust.source")
        self.adapt.check("robust.adapt")
        self.pseudo_label.check(self.adapt.epochs)
        self.match.check()
        self.trust.check()


@dataclass
class SpaceConfig:
    """TinyNAS search spaces: one for each (width_mult, resolution); the other keys are common to all."""

    width_mults: list[float] = MISSING
    resolutions: list[int] = MISSING
    stem_width: int = MISSING
    stem_stride: int = MISSING
    first_width: int = MISSING
    stage_widths: list[int] = MISSING
    stage_strides: list[int] = MISSING
    last_width: int | None = MISSING  # one more block at the end; null leaves it out
    mix_width: int | None = MISSING  # a 1x1 convolution before the pool (MobileNetV2); null leaves it out
    depths: list[int] = MISSING
    kernel_sizes: list[int] = MISSING
    expand_ratios: list[int] = MISSING
    samples: int = MISSING  # subnets drawn from each space
    min_share: float = MISSING  # of the samples that must fit the board

    def check(self) -> None:
        for key in ("width_mults", "resolutions", "depths", "kernel_sizes", "expand_ratios"):
            values = self._check_list(key)
            require(len(set(values)) == len(values), f"tiny.space.{key}={values} repeats a value")
        for size in self.kernel_sizes:
            require(
                size % 2 == 1,
                f"tiny.space.kernel_sizes={self.kernel_sizes}: {size} is even; only odd kernels have a "
                "centre to crop, choose from 3, 5, 7",
            )
        widths, strides = self._check_list("stage_widths"), self._check_list("stage_strides")
        require(
            len(widths) == len(strides),
            f"tiny.space.stage_widths={widths} and stage_strides={strides} must have one entry a stage",
        )
        for key in ("stem_width", "stem_stride", "first_width", "samples"):
            positive(f"tiny.space.{key}", getattr(self, key))
        for key in ("last_width", "mix_width"):
            if getattr(self, key) is not None:
                positive(f"tiny.space.{key}", getattr(self, key))
        require(
            0 <= self.min_share <= 1, f"tiny.space.min_share={self.min_share} must be a share from 0 to 1"
        )

    def _check_list(self, key: str) -> list[float]:
        values = getattr(self, key)
        require(len(values) > 0, f"tiny.space.{key}=[] is empty; give at least one value")
        for value in values:
            require(value > 0, f"tiny.space.{key}={values}: {value} must be above 0")
        return values


@dataclass
class ReserveConfig:
    """Bytes of the board that are kept for the runtime and the application."""

    sram: int = MISSING
    flash: int = MISSING

    def check(self) -> None:
        for key in ("sram", "flash"):
            value = getattr(self, key)
            require(value >= 0, f"tiny.reserve.{key}={value} must not be negative")


@dataclass
class SupernetConfig:
    """Training of the supernet: the largest subnet first, then random subnets."""

    largest_epochs: int = MISSING
    epochs: int = MISSING
    subnets_per_step: int = MISSING
    batch_size: int = MISSING
    learning_rate: float = MISSING  # peak of the cosine
    momentum: float = MISSING
    weight_decay: float = MISSING
    validation_size: int = MISSING  # training images held out for the search

    def check(self) -> None:
        for key in ("epochs", "subnets_per_step", "batch_size", "learning_rate", "validation_size"):
            positive(f"tiny.supernet.{key}", getattr(self, key))
        for key in ("largest_epochs", "weight_decay"):
            value = getattr(self, key)
            require(value >= 0, f"tiny.supernet.{key}={value} must not be negative")
        require(
            0 <= self.momentum < 1, f"tiny.supernet.momentum={self.momentum} must be at least 0 and below 1"
        )


@dataclass
class SearchConfig:
    """Evolution under the board's limits."""

    population: int = MISSING
    parents: int = MISSING
    iterations: int = MISSING
    mutation_probability: float = MISSING
    recalibration_size: int = MISSING  # training images that give the batch-norm statistics

    def check(self) -> None:
        for key in ("population", "parents", "recalibration_size"):
            positive(f"tiny.search.{key}", getattr(self, key))
        require(self.iterations >= 0, f"tiny.search.iterations={self.iterations} must not be negative")
        require(
            self.parents <= self.population,
            f"tiny.search.parents={self.parents} exceeds population={self.population}",
        )
        require(
            0 < self.mutation_probability <= 1,
            f"tiny.search.mutation_probability={self.mutation_probability} must be above 0 and at most 1",
        )


@dataclass
class QuantizationConfig:
    """Post-training quantization to int8."""

    calibration_size: int = MISSING  # training images that give the activation ranges

    def check(self) -> None:
        positive("tiny.quantization.calibration_size", self.calibration_size)


@dataclass
class MeasureConfig:
    """How many test inputs the simulated board runs, each compared byte for byte."""

    inputs: int = 1000

    def check(self) -> None:
        """Raise ConfigError where a value is impossible."""
        require(self.inputs >= 100, f"tiny.measure.inputs={self.inputs} proves little; at least 100")


@dataclass
class TinyConfig:
    """TinyNAS: search space, supernet, search and quantization."""

    space: SpaceConfig = field(default_factory=SpaceConfig)
    reserve: ReserveConfig = field(default_factory=ReserveConfig)
    supernet: SupernetConfig = field(default_factory=SupernetConfig)
    search: SearchConfig = field(default_factory=SearchConfig)
    quantization: QuantizationConfig = field(default_factory=QuantizationConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)

    def check(self) -> None:
        """Raise ConfigError where a value is impossible."""
        for section in (
            self.space,
            self.reserve,
            self.supernet,
            self.search,
            self.quantization,
            self.measure,
        ):
            section.check()

    def check_data(self, train_size: int) -> None:
        """Raise ConfigError where more training images are asked for than there are."""
        held_out = self.supernet.validation_size
        for key, value in (
            ("supernet.batch_size", self.supernet.batch_size),
            ("search.recalibration_size", self.search.recalibration_size),
            ("quantization.calibration_size", self.quantization.calibration_size),
        ):
            require(
                value <= train_size - held_out,
                f"tiny.{key}={value} exceeds the {train_size - held_out} images that "
                f"tiny.supernet.validation_size={held_out} leaves of data.train_size={train_size}",
            )

    def check_board(self, sram: int, flash: int) -> None:
        """Raise ConfigError where the reserve leaves nothing for a network."""
        for key, limit in (("sram", sram), ("flash", flash)):
            value = getattr(self.reserve, key)
            require(
                value < limit,
                f"tiny.reserve.{key}={value} leaves nothing of board.{key}={limit} for a network; "
                "choose a larger board or a smaller reserve",
            )


@dataclass
class BoardConfig:
    """The microcontroller: limits in bytes."""

    name: str = MISSING
    cpu: str = "cortex_m7"
    sram: int = MISSING
    flash: int = MISSING

    def check(self) -> None:
        choice("board.cpu", self.cpu, ("cortex_m4", "cortex_m7"))
        for key in ("sram", "flash"):
            positive(f"board.{key}", getattr(self, key))
            require(
                getattr(self, key) % 1024 == 0,
                f"board.{key}={getattr(self, key)} must be whole KiB (a multiple of 1024 bytes)",
            )


@dataclass
class TrainerConfig:
    """Where training runs."""

    accelerator: str = "cpu"
    devices: int = 1
    strategy: str = "auto"
    threads: int = 2
    progress_bar: bool = True

    def check(self) -> None:
        choice("trainer.accelerator", self.accelerator, ("cpu", "gpu", "auto"))
        positive("trainer.devices", self.devices)
        positive("trainer.threads", self.threads)


@dataclass
class TrackingConfig:
    """The MLflow store; null keeps results in files alone."""

    uri: str | None = "sqlite:///mlflow.db"
    experiment: str = "triptych"
    private: bool = False  # upload curves computed on private data


@dataclass
class Config:
    """Everything a result depends on, with the data and the code."""

    data: DataConfig = field(default_factory=DataConfig)
    private: PrivateConfig = field(default_factory=PrivateConfig)
    robust: RobustConfig = field(default_factory=RobustConfig)
    tiny: TinyConfig = field(default_factory=TinyConfig)
    board: BoardConfig = field(default_factory=BoardConfig)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    tracking: TrackingConfig = field(default_factory=TrackingConfig)
    seed: int = 0
    inputs: str = "."  # root of the files that stages read
    out: str | None = None  # folder of this stage's results; null is Hydra's run folder

    def check(self, present: Collection[str]) -> None:
        """Check the groups that are present, then what they demand of each other.

        Raises ConfigError where a value, or a combination of values, is impossible.
        """
        require(self.seed >= 0, f"seed={self.seed} must not be negative")
        for group in ("data", "private", "robust", "tiny", "board", "trainer"):
            if group in present:
                getattr(self, group).check()
        if {"private", "data"} <= set(present):
            self.private.check_data(self.data)
        if {"robust", "data"} <= set(present):
            self.robust.shift.check_data(self.data.train_size)
        if {"tiny", "data"} <= set(present):
            self.tiny.check_data(self.data.train_size)
        if {"tiny", "board"} <= set(present):
            self.tiny.check_board(self.board.sram, self.board.flash)


def load(values: Mapping[str, Any] | DictConfig) -> Config:
    """Check keys, types and values, and return plain dataclasses.

    A stage's `params/<panel>.yaml` holds only the groups of its panel; the others
    stay unset. Raises ConfigError that names the key, the value and what is allowed.
    """
    try:
        merged: Any = OmegaConf.merge(OmegaConf.structured(Config), values)
        present = [str(key) for key in values]
        config = Config(**{key: _plain(merged[key]) for key in present})
    except OmegaConfBaseException as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"config key {error.full_key}: {reason}; see conf/ for the keys") from None
    config.check(present)
    return config


def _plain(value: Any) -> Any:  # noqa: ANN401  # any config value
    return OmegaConf.to_object(value) if isinstance(value, DictConfig) else value

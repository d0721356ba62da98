"""Schema of TinyNAS, quantization and the board."""

from dataclasses import dataclass, field

from triptych.config.checks import MISSING, choice, positive, require


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
    method: str = MISSING  # whose mean MACs choose: sampling, or exact over all subnets
    memory: str = MISSING  # whose peak SRAM and Flash: ours, tinyengine or tflm
    samples: int = MISSING  # subnets drawn from each space
    min_share: float = MISSING  # of the subnets that must fit the board
    reserves: list[int] = MISSING  # bytes of SRAM kept for the runtime, under which the choice is reported

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
        choice("tiny.space.method", self.method, ("sampling", "exact"))
        choice("tiny.space.memory", self.memory, ("ours", "tinyengine", "tflm"))
        negative = [value for value in self.reserves if value < 0]
        require(not negative, f"tiny.space.reserves={self.reserves}: {negative[:1]} must not be negative")
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
    """Training of the supernet: the largest subnet first, then the others by `schedule`."""

    schedule: str = MISSING  # tinynas, sandwich or progressive
    largest_epochs: int = MISSING
    epochs: int = MISSING  # of the rest together
    subnets_per_step: int = MISSING
    batch_size: int = MISSING
    learning_rate: float = MISSING  # peak of the cosine
    momentum: float = MISSING
    weight_decay: float = MISSING
    validation_size: int = MISSING  # training images held out for the search

    def check(self) -> None:
        choice("tiny.supernet.schedule", self.schedule, ("tinynas", "sandwich", "progressive"))
        require(
            self.schedule != "sandwich" or self.subnets_per_step > 1,
            f"tiny.supernet.subnets_per_step={self.subnets_per_step}: a sandwich has at least the largest "
            "and the smallest subnet, so choose 2 or more",
        )
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
    predictor_samples: int = 0  # subnets measured to predict the others' accuracy; 0 measures all
    max_macs: int | None = None
    instructions: bool = False  # count those of every kind of layer on the simulated board
    max_instructions: int | None = None  # of one inference, by these counts

    def check(self) -> None:
        for key in ("population", "parents", "recalibration_size"):
            positive(f"tiny.search.{key}", getattr(self, key))
        for key in ("max_macs", "max_instructions"):
            if getattr(self, key) is not None:
                positive(f"tiny.search.{key}", getattr(self, key))
        require(
            self.max_instructions is None or self.instructions,
            f"tiny.search.max_instructions={self.max_instructions} needs tiny.search.instructions=true, "
            "which counts those of every kind of layer",
        )
        require(
            self.predictor_samples == 0 or self.predictor_samples >= 20,
            f"tiny.search.predictor_samples={self.predictor_samples} is too few to learn from; at least 20, "
            "or 0 to measure every subnet",
        )
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
    """Quantization to int8: after training, then by training on."""

    calibration_size: int = MISSING  # training images that give the activation ranges
    epochs: int = MISSING  # of quantization-aware training; 0 leaves it out
    learning_rate: float = MISSING  # peak of its cosine
    weight_bits: int = 8  # or 4; activations have 8

    def check(self) -> None:
        require(
            self.weight_bits in (4, 8), f"tiny.quantization.weight_bits={self.weight_bits} must be 8 or 4"
        )
        for key in ("calibration_size", "learning_rate"):
            positive(f"tiny.quantization.{key}", getattr(self, key))
        require(self.epochs >= 0, f"tiny.quantization.epochs={self.epochs} must not be negative")


@dataclass
class CompareConfig:
    """Training of the winner and its rivals alone, in `pipelines.tiny_compare`."""

    epochs: int = MISSING

    def check(self) -> None:
        positive("tiny.compare.epochs", self.epochs)


@dataclass
class EngineConfig:
    """What the generator may change; no byte of the output depends on it."""

    eliminate_constant_channels: bool = True  # leave out channels that are the same for every input


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
    compare: CompareConfig = field(default_factory=CompareConfig)
    engine: EngineConfig = field(default_factory=EngineConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)

    def check(self) -> None:
        """Raise ConfigError where a value is impossible."""
        for section in (
            self.space,
            self.reserve,
            self.supernet,
            self.search,
            self.quantization,
            self.compare,
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

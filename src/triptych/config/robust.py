"""Schema of self-training under a spurious feature."""

from dataclasses import dataclass, field

from triptych.config.checks import MISSING, choice, positive, require

SHIFTS = ("colour", "usps", "celeba")


@dataclass
class ShiftConfig:
    """The shift from source to target, and how the training split is divided."""

    kind: str = "colour"  # colour: painted on the data set; usps: real; celeba: hair colour, from `folder`
    ways: int = MISSING  # colour; 10: the label is the class; 2: whether the class is below 5
    p: float = MISSING  # colour; probability that a source colour follows the label
    draw: str = "seeded"  # colour; published: the released script's random draws, exactly those at seed 0
    keep: float = 1.0  # share of the target whose class is in the lower half that is kept; 1: no label shift
    folder: str | None = None  # celeba; the official files
    source_train_size: int = MISSING
    source_test_size: int = MISSING

    def check(self) -> None:
        choice("robust.shift.kind", self.kind, SHIFTS)
        choice("robust.shift.draw", self.draw, ("seeded", "published"))
        require(self.ways in (2, 10), f"robust.shift.ways={self.ways} is unknown; choose 2 or 10")
        require(0 <= self.p <= 1, f"robust.shift.p={self.p} must be a probability from 0 to 1")
        require(0 < self.keep <= 1, f"robust.shift.keep={self.keep} must be above 0 and at most 1")
        require(
            self.kind != "celeba" or bool(self.folder),
            "robust.shift.kind=celeba needs robust.shift.folder: img_align_celeba/ and list_attr_celeba.txt "
            "of the official release, which its licence lets nobody else hand out",
        )
        for key in ("source_train_size", "source_test_size"):
            positive(f"robust.shift.{key}", getattr(self, key))

    def check_data(self, train_size: int) -> None:
        """Raise ConfigError unless the source fits into the first half of the training split."""
        if self.kind == "celeba":
            return
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
    restart: bool = False  # begin anew with the weights of `reweight`, as "Just Train Twice" does
    group_dro: float = 0.0  # step size of group DRO's weights of the groups; 0 switches it off
    last_layer: bool = False  # train the last layer again, both groups weighing the same
    shuffle: bool = True  # false: always in the order of the files, as the released script does

    def check(self, group: str) -> None:
        super().check(group)
        require(self.poly >= 0, f"{group}.poly={self.poly} must not be negative")
        require(self.group_dro >= 0, f"{group}.group_dro={self.group_dro} must not be negative; 0 is off")
        require(
            not (self.group_dro and self.reweight > 1),
            f"{group}.group_dro={self.group_dro} and {group}.reweight={self.reweight} both weigh the source; "
            "set group_dro=0 or reweight=1",
        )
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
    shrinking_share: float = MISSING  # least share of the target on which the theory is favourable

    def check(self) -> None:
        for key in ("accuracy", "shrinking_share"):
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
    """Self-training under a spurious feature."""

    shift: ShiftConfig = field(default_factory=ShiftConfig)
    filters: list[int] = field(default_factory=list)  # convolutions with stride 2 before them; empty: none
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
        for key in ("filters", "hidden"):
            for width in getattr(self, key):
                require(width > 0, f"robust.{key}={getattr(self, key)}: {width} must be above 0")
        require(
            self.shift.draw == "seeded" or not (self.filters or self.batch_norm or self.source.shuffle),
            "robust.shift.draw=published also draws the released script's first weights and order; set "
            "robust.filters=[], robust.batch_norm=false and robust.source.shuffle=false",
        )
        self.shift.check()
        self.source.check("robust.source")
        self.adapt.check("robust.adapt")
        self.pseudo_label.check(self.adapt.epochs)
        self.match.check()
        self.trust.check()

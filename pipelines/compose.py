"""Resolve `conf/` and `overrides.yaml` into `params/<panel>.yaml`.

DVC follows the values in `params/`, so a stage runs again when a value that it
uses changes, whichever file of `conf/` the value came from. The file is written
only when its content changes.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from reprlib import Repr

import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from pipelines.feasible import check_feasible
from triptych.config import load
from triptych.data.files import write_atomic
from triptych.errors import ConfigError, TriptychError

SHARED = ("data", "trainer", "seed", "inputs", "out")
PANELS = {
    "private": ("private", *SHARED),
    "robust": ("robust", *SHARED),
    "tiny": ("tiny", "board", *SHARED),
    "hinge": ("hinge", "robust", "tiny", "board", "stage", *SHARED),
}
BRIEF = Repr()  # a few aliases of YAML make an endless text
BRIEF.maxlevel = 2
EXPERIMENT, HINGE = "experiment=", "experiment=hinge/"


def read_overrides(path: Path, panel: str) -> list[str]:
    """The Hydra overrides that apply to `panel`: those for all, then its own."""
    try:
        groups = yaml.safe_load(path.read_text()) or {}
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(groups, dict):
        raise ConfigError(f"{path} must map a panel to its overrides, such as `private: [seed=1]`")
    unknown = [name for name in groups if name not in {"all", *PANELS}]
    if unknown:
        raise ConfigError(f"{path}: unknown panel {unknown[0]!r}; choose among all, {', '.join(PANELS)}")
    overrides: list[str] = []
    for name in ("all", panel):
        items = groups.get(name) or []
        if not isinstance(items, list):
            raise ConfigError(
                f"{path}: {name}={BRIEF.repr(items)} must be a list, such as `{name}: [seed=1]`"
            )
        overrides += items
    wrong = [item for item in overrides if not isinstance(item, str)]
    if wrong:
        raise ConfigError(
            f"{path}: {BRIEF.repr(wrong[0])} is not an override; write it as 'key=value', in quotes"
        )
    return [for_panel(item, panel) for item in overrides]


def for_panel(override: str, panel: str) -> str:
    """The experiment `x` and its variant `hinge/x` are one choice: the chain takes the latter."""
    if not override.startswith(EXPERIMENT):
        return override
    name = override.removeprefix(HINGE).removeprefix(EXPERIMENT)
    return f"{HINGE if panel == 'hinge' else EXPERIMENT}{name}"


@contextmanager
def hydra_refuses() -> Iterator[None]:
    """Turn what Hydra makes of a bad override into a ConfigError."""
    try:
        yield
    except (HydraException, OmegaConfBaseException, ValueError, RecursionError) as error:
        raise ConfigError(f"overrides.yaml: {' '.join(str(error).split())}") from error


def resolve(root: Path, panel: str) -> str:
    """The resolved, checked configuration of `panel` as YAML."""
    overrides = read_overrides(root / "overrides.yaml", panel)
    with hydra_refuses(), initialize_config_dir(str(root / "conf"), version_base="1.3"):
        config = compose("config", overrides=overrides)
    check_feasible(load(config), panel)
    part = OmegaConf.masked_copy(config, list(PANELS[panel]))
    OmegaConf.resolve(part)
    return OmegaConf.to_yaml(part, sort_keys=True)


def main() -> None:
    root, panel = Path.cwd(), sys.argv[1]
    path = root / "params" / f"{panel}.yaml"
    try:
        text = resolve(root, panel)
        if not path.exists() or path.read_text() != text:
            write_atomic(path, text.encode())
    except TriptychError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()

"""`dvc.yaml` against the code: what DVC follows is what the stages use."""

import importlib.util
import re
from dataclasses import asdict
from pathlib import Path

import pytest
import yaml

from pipelines.compose import PANELS, resolve
from triptych.config import Config
from triptych.tracking.fingerprint import lookup, read_declaration

ROOT = Path(__file__).parents[2]
STAGES = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
NAMES = [name for name in STAGES if name != "compose"]


@pytest.mark.parametrize("name", NAMES)
def test_command_runs_the_module_of_the_stage(name: str):
    """The fingerprint looks the stage up by the module's name, or by the one that the command gives."""
    match = re.fullmatch(
        r"python -m pipelines\.(\w+) \$\{read\} (\w+) \$\{here\} (?:stage=(\w+) )?out=(\S+)",
        STAGES[name]["cmd"].strip(),
    )
    assert match, STAGES[name]["cmd"]
    assert (match[3] or match[1]) == name
    assert match[2] in PANELS
    assert importlib.util.find_spec(f"pipelines.{match[1]}")
    assert f'@stage("{match[1]}")' in (ROOT / "pipelines" / f"{match[1]}.py").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_parameters_exist_in_the_panel_and_the_schema(name: str):
    """A key that does not exist would never change, and the stage never run again."""
    for file in STAGES[name].get("params", []):
        for path, keys in file.items():
            groups = PANELS[Path(path).stem]
            for key in keys:
                assert key.split(".")[0] in groups
                lookup(asdict(Config()), key)


@pytest.mark.parametrize("name", NAMES)
def test_results_lie_in_the_folder_of_the_stage(name: str):
    """Outputs outside would be overwritten by a sweep."""
    folder = STAGES[name]["cmd"].split("out=")[-1].strip()
    listed = [*STAGES[name].get("outs", []), *STAGES[name].get("metrics", []), *STAGES[name].get("plots", [])]
    paths = [next(iter(item)) if isinstance(item, dict) else item for item in listed]
    assert all(path.startswith(f"{folder}/") for path in paths)
    assert f"{folder}/run.json" in paths
    assert f"{folder}/metrics.json" in paths


@pytest.mark.parametrize("name", NAMES)
def test_declared_code_exists(name: str):
    """DVC refuses a missing dependency only when the stage runs."""
    declaration = read_declaration(ROOT, name)
    code = [dep for dep in declaration.deps if dep.startswith(("src/", "pipelines/"))]
    assert f"pipelines/{borrowed(name)}.py" in code
    assert all((ROOT / dep).exists() for dep in code)


def borrowed(name: str) -> str:
    """The script's name where the stage runs another stage's script, else its own."""
    return STAGES[name]["cmd"].split()[2].removeprefix("pipelines.")


def shape(name: str) -> dict[str, list[str]]:
    """What an entry declares, apart from whose files and parameters they are."""
    entry = STAGES[name]
    code = [dep for dep in entry["deps"] if dep.startswith(("src/", "pipelines/"))]
    files = [Path(dep).name for dep in entry["deps"] if dep not in code]
    keys = [key for file in entry["params"] for group in file.values() for key in group]
    outs = [
        Path(item if isinstance(item, str) else next(iter(item))).name
        for kind in ("outs", "metrics", "plots")
        for item in entry.get(kind, [])
    ]
    named = {"code": code, "files": files, "keys": keys, "outs": outs}
    return {kind: sorted(values) for kind, values in named.items()}


@pytest.mark.parametrize("name", [name for name in NAMES if borrowed(name) != name])
def test_stage_that_borrows_a_script_declares_what_the_script_needs(name: str):
    """The two entries of one script must not drift apart: change both."""
    assert shape(name) == shape(borrowed(name))


@pytest.mark.parametrize("panel", PANELS)
def test_committed_parameters_are_what_conf_says(panel: str):
    """`dvc params diff` compares with the committed file; `dvc repro` renews it."""
    assert (ROOT / "params" / f"{panel}.yaml").read_text() == resolve(ROOT, panel)


@pytest.mark.parametrize("panel", PANELS)
def test_mnist_is_an_experiment_of_every_panel(tmp_path: Path, panel: str):
    """`make repro experiment=mnist` stops at the first panel that cannot be composed."""
    (tmp_path / "conf").symlink_to(ROOT / "conf")
    (tmp_path / "overrides.yaml").write_text("all: [experiment=mnist]\n")
    data = yaml.safe_load(resolve(tmp_path, panel))["data"]
    assert (data["name"], data["train_size"]) == ("mnist", 60_000)

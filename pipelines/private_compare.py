"""One method from warm start to scores, in a folder of its own; with `-m`, all methods at equal epsilon.

    python -m pipelines.private_compare -m +sweep=private_rivals
    python -m pipelines.rivals multirun/private_rivals

Not a stage: a chain of stages whose root is Hydra's run folder. Results that
lie under `inputs`, in this folder or in one beside it with the same fingerprint
are used, not made again: a sweep that was interrupted goes on.
"""

import shutil
from dataclasses import asdict, replace
from pathlib import Path

from filelock import FileLock

from pipelines import (
    prepare,
    private_evaluate,
    private_sample,
    private_train,
    private_warm_start,
    reference,
)
from pipelines.jobs import alone, job_app
from pipelines.stage import ROOT, function_of, run_and_publish
from triptych.config import Config
from triptych.data.files import read_json
from triptych.tracking.fingerprint import dependency_digests, fingerprint, read_declaration

CHAIN = {  # stage: its folder below the root
    "prepare": "data/prepared/real",
    "reference": "out/reference",
    "private_warm_start": "out/private/warm_start",
    "private_train": "out/private/train",
    "private_sample": "out/private/synthetic",
    "private_evaluate": "out/private/evaluate",
}
MODULES = (prepare, reference, private_warm_start, private_train, private_sample, private_evaluate)


def known(config: Config, wanted: str, folder: str, root: Path) -> bool:
    """Whether the result `wanted` is there: in `root`, or elsewhere and then linked into it."""
    places = [root / folder, Path(config.inputs) / folder, *sorted(root.parent.glob(f"*/{folder}"))]
    for place in places:
        record = place / "run.json"
        if record.exists() and read_json(record)["fingerprint"] == wanted:
            if place != root / folder:
                (root / folder).parent.mkdir(parents=True, exist_ok=True)
                shutil.rmtree(root / folder, ignore_errors=True)
                (root / folder).symlink_to(place.resolve())
            return True
    return False


def run_chain(config: Config, root: Path) -> None:
    """Run the stages in `root`, each publishing to MLflow what it made.

    The same command twice at once: the second waits, and finds what the first has made.
    """
    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".lock"):
        _run_chain(config, root)


def _run_chain(config: Config, root: Path) -> None:
    for code in ("src", "pipelines"):
        (root / code).unlink(missing_ok=True)
        (root / code).symlink_to(ROOT / code)
    for name, folder in CHAIN.items():
        if (root / folder).is_symlink():
            (root / folder).unlink()
        declaration = read_declaration(ROOT, name)
        wanted = fingerprint(declaration, asdict(config), dependency_digests(declaration, root))
        with alone(wanted):
            if not known(config, wanted, folder, root):
                run_and_publish(name, function_of(name), replace(config, inputs=str(root)), root / folder)


main = job_app(run_chain)


if __name__ == "__main__":
    main()

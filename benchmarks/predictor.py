"""What a predictor of accuracy learns, beside what two measurements of the same subnets agree on.

    python -m benchmarks.predictor experiment=tiny/predictor out=multirun/predictor

Random subnets of one supernet are measured on two halves of the held-out images, A
and B: share of correct answers, and mean log-likelihood of the labels. Models learn
a measurement on A and are judged out of fold by Kendall's tau with the accuracy on
B, which neither they nor A have seen; the measurement on A itself is the noise
ceiling of whatever is no smoother than it.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipelines.jobs import job_app, prepared, run_stages
from triptych.config import Config

SUBNETS = 120
FOLDS = 8
Vector = NDArray[np.float64]


@job_app
def main(config: Config, job: Path) -> None:
    from safetensors.numpy import load_file, save_file

    table = job / "subnets.safetensors"
    if not table.exists():
        save_file(measure(config, job), table)
    for line in report(load_file(table)):
        sys.stdout.write(line + "\n")


def measure(config: Config, job: Path) -> dict[str, Vector]:
    """Features of random subnets, and what each half of the held-out images says of them."""
    import torch

    from triptych.data.prepared import read_split
    from triptych.tiny.cost import subnet_cost
    from triptych.tiny.files import hold_out, read_space, read_supernet, tensors
    from triptych.tiny.predictor import features
    from triptych.tiny.recalibrate import subnet_scores

    real = prepared(config, job / "prepared")
    chain = job / "chain"
    run_stages(
        ("tiny_space", "tiny_supernet"), config, chain, instead={"data/prepared/real": str(real.resolve())}
    )
    torch.set_num_threads(config.trainer.threads)
    space = read_space(chain / "out/tiny/space/space.json", config.tiny.space, config.data)
    supernet = read_supernet(chain / "out/tiny/supernet/supernet.safetensors", space)
    train, held_out = hold_out(read_split(real, "train"), config.tiny.supernet.validation_size)
    x, _ = tensors(train.take(slice(config.tiny.search.recalibration_size)), space.resolution)
    pixels, labels = tensors(held_out, space.resolution)
    rng, half = np.random.default_rng(config.seed), len(labels) // 2
    rows: dict[str, list[Any]] = {"x": [], "costs": [], "accuracy": [], "likelihood": []}
    for arch in dict.fromkeys(space.random(rng) for _ in range(SUBNETS)):
        cost = subnet_cost(space, arch)
        likelihood, correct = subnet_scores(supernet, arch, x, pixels, labels)
        rows["x"].append(features(space, arch))
        rows["costs"].append(np.log([cost.macs, cost.flash, cost.peak_sram]))
        for key, each in (("accuracy", correct), ("likelihood", likelihood)):
            rows[key].append([each[:half].mean().item(), each[half:].mean().item()])
    return {key: np.array(value, np.float64) for key, value in rows.items()}


def models() -> dict[str, Callable[[], Any]]:
    """What can learn from a hundred rows."""
    from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor
    from sklearn.gaussian_process import GaussianProcessRegressor
    from sklearn.gaussian_process.kernels import RBF, WhiteKernel
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    kernel = RBF(5.0, (1, 100)) + WhiteKernel(1.0, (1e-3, 10))
    return {
        "ridge": lambda: make_pipeline(StandardScaler(), RidgeCV(np.logspace(-2, 3, 11))),
        "gaussian process": lambda: make_pipeline(
            StandardScaler(), GaussianProcessRegressor(kernel, normalize_y=True, random_state=0)
        ),
        "gradient boosting": lambda: GradientBoostingRegressor(
            n_estimators=200, max_depth=2, learning_rate=0.05, subsample=0.7, random_state=0
        ),
        "random forest": lambda: RandomForestRegressor(200, min_samples_leaf=3, random_state=0),
    }


def report(values: dict[str, Vector]) -> list[str]:
    """Lines of the table."""
    from scipy.stats import kendalltau
    from sklearn.model_selection import KFold, cross_val_predict

    def tau(a: Vector, b: Vector) -> float:
        return float(kendalltau(a, b).statistic)  # pyright: ignore[reportAttributeAccessIssue]

    truth, likely = values["accuracy"][:, 1], values["likelihood"][:, 1]
    lines = [
        f"{len(truth)} subnets, accuracy on B {truth.mean():.3f}, sd {truth.std():.4f}",
        f"{'':44} tau with accuracy, log-likelihood on B",
    ]
    folds = KFold(FOLDS, shuffle=True, random_state=0)
    kinds = {"choices": values["x"], "choices and costs": np.hstack([values["x"], values["costs"]])}
    for target in ("accuracy", "likelihood"):
        measured = values[target][:, 0]
        lines.append(f"{target + ' on A':44} {tau(measured, truth):.2f} {tau(measured, likely):.2f}")
        for kind, x in kinds.items():
            for name, make in models().items():
                unseen: Any = cross_val_predict(make(), x, measured, cv=folds)
                label = f"  {name}, {kind}"
                lines.append(f"{label:44} {tau(unseen, truth):.2f} {tau(unseen, likely):.2f}")
    return lines


if __name__ == "__main__":
    main()

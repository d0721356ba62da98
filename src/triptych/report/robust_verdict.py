"""How often the verdict before self-training is right, from the outcomes of a multirun.

An outcome is what the criteria said of one source classifier and what
self-training then did to it, `outcomes.json` of `robust_diagnose`.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby, product
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score

from triptych.config.robust import TrustConfig
from triptych.data.files import read_json
from triptych.robust.trust import Evidence

CRITERIA = {  # by name: whether more of it speaks for self-training
    "recoloured_accuracy": True,
    "estimated_accuracy": True,
    "estimated_by_confidence": True,
    "shrinking_share": True,
    "class_share_distance": False,
}
GRID = np.round(np.arange(0.3, 0.96, 0.01), 2)
Outcome = Mapping[str, Any]


def read_outcomes(folder: Path) -> list[Outcome]:
    """Every repetition of every finished job below `folder`, with its setting, p and seed."""
    found = []
    for path in sorted(folder.rglob("outcomes.json")):
        if "chain" not in path.parts:
            job = read_json(path.parent / "metrics.json")
            facts = {name: job[name] for name in ("setting", "p", "seed")}
            found += [{**facts, **each} for each in read_json(path)]
    return found


def helped(outcome: Outcome) -> bool:
    """Whether the accuracy on the target rose."""
    return outcome["target_accuracy"] > outcome["target_accuracy_before"]


def trusted(outcome: Outcome, limits: TrustConfig) -> bool:
    """The verdict, from the criteria alone."""
    return not Evidence.of(outcome).doubts(limits)


def best_limits(outcomes: Sequence[Outcome]) -> TrustConfig:
    """The limits under which most verdicts are right, to a hundredth; of several, the most central."""
    truth = np.array([helped(each) for each in outcomes])
    evidence = [Evidence.of(each) for each in outcomes]
    decency = np.array([each.decency for each in evidence])
    share = np.array([1.0 if each.shrinking_share is None else each.shrinking_share for each in evidence])
    pairs = list(product(GRID, GRID))
    right = np.array([np.sum(((decency >= a) & (share >= s)) == truth) for a, s in pairs])
    best = np.array(pairs)[right == right.max()]
    central = best[np.abs(best - best.mean(axis=0)).sum(axis=1).argmin()]
    return TrustConfig(*map(float, central))


def markdown(outcomes: Sequence[Outcome], limits: TrustConfig) -> str:
    """For each setting: verdict against outcome by p, what each criterion alone is worth, its best limits."""
    lines = [f"Limits: accuracy {limits.accuracy:.2f}, shrinking_share {limits.shrinking_share:.2f}.", ""]
    for setting, group in _grouped(outcomes, "setting"):
        lines += [f"## {setting}", ""]
        lines += ["| p | before | after | trust, gain | trust, loss | doubt, loss | doubt, gain | right |"]
        lines += ["|---|---|---|---|---|---|---|---|"]
        lines += [_row(f"{p}", rows, limits) for p, rows in _grouped(group, "p")]
        lines += [_row("all", group, limits), "", "| criterion | area under the curve |", "|---|---|"]
        lines += [f"| {name} | {area:.2f} |" for name, area in areas(group).items()]
        best = best_limits(group)
        lines += [
            "",
            f"They alone would choose {best.accuracy:.2f} and {best.shrinking_share:.2f}.",
        ]
        lines += [""]
    return "\n".join(lines)


def areas(outcomes: Sequence[Outcome]) -> dict[str, float]:
    """How well each criterion tells gain from loss: area under the ROC curve; empty if all fare alike."""
    truth = [helped(each) for each in outcomes]
    if len(set(truth)) == 1:
        return {}
    known = [name for name in CRITERIA if all(name in each for each in outcomes)]
    signs = {name: 1 if CRITERIA[name] else -1 for name in known}
    return {
        name: float(roc_auc_score(truth, [sign * each[name] for each in outcomes]))
        for name, sign in signs.items()
    }


def draw(outcomes: Sequence[Outcome], limits: TrustConfig, path: Path) -> None:
    """The gain against either criterion of the verdict, a colour for each setting, the limits dashed."""
    figure = Figure(figsize=(10, 4.5), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for setting, group in _grouped(outcomes, "setting"):
        evidence = [Evidence.of(each) for each in group]
        gain = [100 * (e["target_accuracy"] - e["target_accuracy_before"]) for e in group]
        left.plot([each.decency for each in evidence], gain, "o", alpha=0.6, label=setting)
        right.plot([each.shrinking_share for each in evidence], gain, "o", alpha=0.6)
    for axes, limit, name in (
        (left, limits.accuracy, "estimated accuracy on the target"),
        (right, limits.shrinking_share, "share on which minimising entropy shrinks the colour's effect"),
    ):
        axes.axvline(limit, color="black", linestyle="--")
        axes.axhline(0, color="grey", linewidth=0.8)
        axes.set(xlabel=name)
        axes.grid(alpha=0.3)
    left.set(ylabel="points of accuracy gained by self-training")
    figure.legend(loc="outside lower center", ncols=3)
    figure.savefig(path, dpi=120)


def _row(name: str, outcomes: Sequence[Outcome], limits: TrustConfig) -> str:
    pairs = [(trusted(each, limits), helped(each)) for each in outcomes]
    counts = [pairs.count(each) for each in ((True, True), (True, False), (False, False), (False, True))]
    accuracies = [
        100 * float(np.mean([each[key] for each in outcomes]))
        for key in ("target_accuracy_before", "target_accuracy")
    ]
    cells = [name, *(f"{each:.1f}" for each in accuracies), *counts]
    return "| " + " | ".join(map(str, [*cells, f"{counts[0] + counts[2]} of {len(pairs)}"])) + " |"


def _grouped(outcomes: Iterable[Outcome], key: str) -> list[tuple[Any, list[Outcome]]]:
    ordered = sorted(outcomes, key=lambda each: each[key])
    return [(name, list(group)) for name, group in groupby(ordered, key=lambda each: each[key])]

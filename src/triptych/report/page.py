"""The report: one self-contained HTML page from the pipeline's outputs.

Everything is in the file (styles, figures as data), so that it can be mailed. It
says nothing that a results folder does not: values come from `metrics.json`,
the certificate from the chain, the commands from `dvc.yaml`.
"""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from triptych.data.files import read_json, write_atomic
from triptych.report import robust_table
from triptych.report.seeds import repeated, spread
from triptych.report.summary import Row, values


@dataclass(frozen=True)
class Figure:
    """One picture of the pipeline with its caption."""

    title: str
    path: str
    caption: str

    def data(self, root: Path) -> str:
        """The picture as a data URI."""
        content = base64.b64encode((root / self.path).read_bytes()).decode()
        return f"data:image/png;base64,{content}"


WATERFALL = (
    "Accuracy on the target's test images, from a classifier trained on real images to the board; mean "
    "and standard deviation over seeds, differences within a seed. The left end is trained on sensitive "
    "data and covered by no epsilon."
)
FIGURES = (
    Figure("What each step costs and gains", "multirun/hinge_ablation/waterfall.png", WATERFALL),
    Figure(
        "The same on another data set as the target",
        "multirun/hinge_ablation_usps/waterfall.png",
        "Private samples of one data set, USPS without labels as the target; otherwise as above.",
    ),
    Figure(
        "Self-training over settings and seeds",
        "multirun/robust_table/table.png",
        "An arrow a seed, from source only to after; crosses are the paper's numbers.",
    ),
    Figure(
        "The chain's two domains",
        "out/hinge/data/samples.png",
        "Left: private samples, whose colour follows the label. Right: the target, whose colour does not.",
    ),
    Figure(
        "Private samples",
        "out/private/synthetic/samples.png",
        "One row a label, from the certified generator.",
    ),
    Figure(
        "Does the classifier use the colour?",
        "out/robust/diagnose/group_accuracies.png",
        "Target accuracy where the colour points to the label and where it does not, over repetitions.",
    ),
    Figure(
        "Which group is the worst?",
        "out/robust/diagnose/group_grid.png",
        "Target accuracy by label and colour, before and after self-training.",
    ),
    Figure(
        "What self-training corrected and broke",
        "out/robust/diagnose/examples.png",
        "The first target images of each kind, with the label and the answers before and after.",
    ),
    Figure(
        "Why self-training can help or hurt",
        "out/robust/diagnose/theory.png",
        "The paper's linear theory, from the same functions that the tests compare with it.",
    ),
    Figure(
        "Search spaces", "out/tiny/space/macs_cdf.png", "Cost of the subnets that fit the board, by space."
    ),
    Figure("Search", "out/tiny/search/pareto.png", "Every subnet that was evaluated."),
    Figure("Memory of the firmware", "out/tiny/measure/memory_map.png", "Which tensor lies where, and when."),
    Figure(
        "Memory of the chain's firmware",
        "out/hinge/measure/memory_map.png",
        "The same for the adapted subnet.",
    ),
)


PARTS = ("privacy", "trained_on", "accuracy", "board")  # of the certificate, what matters most first


@dataclass(frozen=True)
class Line:
    """One row of the table: whatever was published beside what was measured, and how to repeat it."""

    label: str
    value: str
    spread: str
    published: str
    command: str


def lines(root: Path) -> Iterator[tuple[str, list[Line]]]:
    """The rows of every panel, in the order of the table that the terminal shows."""
    over_seeds = repeated(root)

    def line(row: Row, value: str) -> Line:
        stage = read_json(root / row.file / "run.json")["stage"]
        metric, _, form = row.seeds.partition(":")
        found = spread(over_seeds.get(metric, ()), form)
        return Line(row.label, value, found, row.published, f"dvc repro {stage}")

    for panel, rows in groupby(values(root), key=lambda pair: pair[0].panel):
        yield panel, [line(*pair) for pair in rows]


def self_training(root: Path) -> list[tuple[str, str, str, int, str]]:
    """Setting, source only, after, seeds and the paper's numbers of the jobs of `+sweep=robust_table`."""
    return [
        (
            row.name,
            robust_table.spread(row.before),
            robust_table.spread(row.after),
            len(row.seeds),
            "{} → {}".format(*paper) if (paper := robust_table.PAPER.get(row.candidate[0])) else "",
        )
        for row in robust_table.rows(robust_table.read_jobs(root / "multirun/robust_table"))
    ]


def render(root: Path) -> str:
    """The page. Raises DataError where a result is missing."""
    template = (files("triptych.report") / "page.html.j2").read_text()
    path = root / "out/hinge/chain/certificate.json"
    certificate, signature = read_json(path), path.with_suffix(".sig.json")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.from_string(template).render(
        data=read_json(root / "data/prepared/real/card.json"),
        panels=list(lines(root)),
        certificate=certificate,
        signer=read_json(signature)["public_key"] if signature.exists() else None,
        ablations={
            path.parent.name: read_json(path) for path in sorted(root.glob("multirun/*/ablation.json"))
        },
        settings=self_training(root),
        claims=[(part, certificate["claims"][part]) for part in PARTS if part in certificate["claims"]],
        figures=[(figure, figure.data(root)) for figure in FIGURES if (root / figure.path).exists()],
        words=lambda name: str(name).replace("_", " "),
        number=_number,
    )


def _number(value: Any) -> str:  # noqa: ANN401  # any JSON scalar
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def write_page(root: Path, target: Path) -> None:
    """Render the results below `root` to `target`."""
    write_atomic(target, render(root).encode())

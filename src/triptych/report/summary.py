"""The one table at the end: what panels and chain reached, from their metrics files."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from triptych.data.files import read_json


@dataclass(frozen=True)
class Row:
    """One line: the panel, what is measured, the metrics file and how to say the value."""

    panel: str
    label: str
    file: str
    template: str  # filled with the metrics of `file`
    published: str = ""  # the paper's number for the same quantity, and where it differs in kind
    seeds: str = ""  # `metric:format` of its spread, where runs over seeds left one (triptych.report.seeds)


ROWS = (
    Row(
        "Private",
        "epsilon",
        "out/private/train",
        "{epsilon:.3f} ({epsilon_accountant}, delta {delta:g})",
        "10 claimed for MNIST; its own theorems give 347 (docs/privacy.md)",
    ),
    Row(
        "Private",
        "inception score",
        "out/private/evaluate",
        "{inception_score:.2f} (real {real_inception_score:.2f})",
        "9.23 on MNIST (real 9.80)",
        "inception_score:.2f",
    ),
    Row(
        "Private",
        "FID, reference features",
        "out/private/evaluate",
        "{fid_reference:.2f}",
        "61.34 on MNIST, on Inception's features: not the same scale",
        "fid_reference:.2f",
    ),
    Row(
        "Private",
        "CNN on real test images",
        "out/private/evaluate",
        "{downstream_cnn_accuracy:.1%} (trained on real {real_cnn_accuracy:.1%})",
        "80% on MNIST",
        "downstream_cnn_accuracy:.1%",
    ),
    Row(
        "Private",
        "MLP on real test images",
        "out/private/evaluate",
        "{downstream_mlp_accuracy:.1%} (trained on real {real_mlp_accuracy:.1%})",
        "79% on MNIST",
        "downstream_mlp_accuracy:.1%",
    ),
    Row(
        "Private",
        "mean of the classifiers",
        "out/private/evaluate",
        "{downstream_avg_accuracy:.1%} (trained on real {real_avg_accuracy:.1%})",
        "60% on MNIST",
        "downstream_avg_accuracy:.1%",
    ),
    Row(
        "Private",
        "the same, calibrated",
        "out/private/evaluate",
        "{calibrated_accuracy:.1%}",
        "69% on MNIST",
        "calibrated_accuracy:.1%",
    ),
    Row(
        "Robust",
        "source accuracy",
        "out/robust/diagnose",
        "{source_accuracy:.1%} ± {source_accuracy_sd:.1%}",
    ),
    Row(
        "Robust",
        "target accuracy before",
        "out/robust/diagnose",
        "{target_accuracy_before:.1%} ± {target_accuracy_before_sd:.1%}",
        "82% on MNIST, one draw",
    ),
    Row(
        "Robust",
        "pseudo-labels",
        "out/robust/diagnose",
        "{target_accuracy_pseudo_label:.1%} ± {target_accuracy_pseudo_label_sd:.1%}",
        "91% on MNIST, one draw",
    ),
    Row(
        "Robust",
        "entropy minimisation",
        "out/robust/diagnose",
        "{target_accuracy_entropy:.1%} ± {target_accuracy_entropy_sd:.1%}",
    ),
    Row(
        "Tiny",
        "subnet accuracy",
        "out/tiny/quantize",
        "{subnet_accuracy:.1%} float, {int8_accuracy:.1%} int8",
        seeds="int8_accuracy:.1%",
    ),
    Row(
        "Tiny",
        "accuracy on the board",
        "out/tiny/measure",
        "{board_accuracy:.1%}",
        seeds="board_accuracy:.1%",
    ),
    Row("Tiny", "peak SRAM", "out/tiny/measure", "{peak_sram:,} B", seeds="peak_sram:,.0f"),
    Row("Tiny", "flash", "out/tiny/measure", "{flash:,} B", seeds="flash:,.0f"),
    Row(
        "Tiny",
        "instructions per inference",
        "out/tiny/measure",
        "{instructions:,}",
        seeds="instructions:,.0f",
    ),
    Row(
        "Chain",
        "epsilon of everything",
        "out/hinge/chain",
        "{epsilon:.3f} (delta {delta:g})",
        seeds="chain_epsilon:.3f",
    ),
    Row(
        "Chain",
        "target accuracy on the board",
        "out/hinge/chain",
        "{board_accuracy:.1%} (float {subnet_accuracy:.1%})",
        seeds="chain_board_accuracy:.1%",
    ),
    Row("Chain", "peak SRAM", "out/hinge/chain", "{peak_sram:,} B", seeds="chain_peak_sram:,.0f"),
    Row("Chain", "flash", "out/hinge/chain", "{flash:,} B", seeds="chain_flash:,.0f"),
    Row(
        "Chain",
        "instructions per inference",
        "out/hinge/chain",
        "{instructions:,}",
        seeds="chain_instructions:,.0f",
    ),
)


def values(root: Path, rows: tuple[Row, ...] = ROWS) -> Iterator[tuple[Row, str]]:
    """Each row with its value. Raises DataError where a metrics file is missing."""
    files: dict[str, dict[str, Any]] = {}
    for row in rows:
        if row.file not in files:
            files[row.file] = read_json(root / row.file / "metrics.json")
        yield row, row.template.format(**files[row.file])


def summary_table(root: Path) -> Table:
    """The table for a terminal."""
    title = f"Triptych on {read_json(root / 'data/prepared/real/card.json')['name']}"
    table = Table("panel", "measured", "value", title=title)
    panel = ""
    for row, value in values(root):
        if panel and row.panel != panel:
            table.add_section()
        table.add_row(row.panel if row.panel != panel else "", row.label, value)
        panel = row.panel
    return table


PICTURES = (
    "out/private/synthetic/samples.png",
    "out/robust/diagnose/group_accuracies.png",
    "out/tiny/measure/memory_map.png",
)


def overview(root: Path, target: Path) -> None:
    """Write one picture of what the three panels made, side by side."""
    from matplotlib.figure import Figure
    from matplotlib.image import imread

    pictures = [imread(root / name) for name in PICTURES]
    ratios = [picture.shape[1] / picture.shape[0] for picture in pictures]
    figure = Figure(figsize=(4 * sum(ratios), 4), layout="constrained", dpi=110)
    for axes, picture in zip(figure.subplots(1, 3, width_ratios=ratios), pictures, strict=True):
        axes.imshow(picture, interpolation="antialiased")
        axes.axis("off")
    figure.savefig(target, metadata={"Software": None})

"""Prepared data sets and MLflow runs as tables for a terminal."""

from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from triptych.data.files import read_json
from triptych.errors import ConfigError, DataError

if TYPE_CHECKING:
    from mlflow.entities import Run

METRICS = ("epsilon", "target_accuracy", "board_accuracy", "peak_sram", "flash", "instructions")


def data_table(root: Path) -> Table:
    """One row a prepared data set. Raises DataError where there is none."""
    cards = sorted([*(root / "data/prepared").glob("*/card.json"), *(root / "out").glob("**/card.json")])
    if not cards:
        raise DataError(
            f"{root / 'data/prepared'} holds no data set; run `make repro` or `dvc repro prepare`"
        )
    table = Table("folder", "name", "splits", "source", "licence")
    for path in cards:
        card = read_json(path)
        splits = ", ".join(f"{name} {size:,}" for name, size in card.get("sizes", {}).items())
        folder = str(path.parent.relative_to(root))
        table.add_row(folder, str(card.get("name")), splits, card.get("source", ""), card.get("licence", ""))
    return table


def runs_table(uri: str | None, experiment: str, query: str, limit: int) -> Table:
    """Stage and headline metrics of the runs that match `query`."""
    from mlflow.exceptions import MlflowException

    from triptych.tracking import mlflow as tracking

    if uri is None:
        raise ConfigError("tracking.uri is null: there is no store; name one with --uri")
    try:
        client = tracking.connect(uri)
        where = [tracking.experiment_id(client, experiment)]
        found = client.search_runs(where, query, max_results=limit)
    except MlflowException as error:
        raise ConfigError(f"MLflow refuses {query!r}: {str(error).splitlines()[0]}") from error
    shown = [name for name in METRICS if any(name in run.data.metrics for run in found)]
    title = f"{len(found)} runs in {uri}"
    table = Table("stage", *shown, title=title, min_width=len(title))
    table.columns[0].no_wrap = True
    for run in found:
        table.add_row(_name(run), *(_number(run.data.metrics.get(name)) for name in shown))
    return table


def _name(run: "Run") -> str:
    stage = run.data.tags.get("triptych.stage", str(run.info.run_name))
    return stage if run.info.status == "FINISHED" else f"{stage} ({run.info.status.lower()})"


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:,.0f}" if value == int(value) else f"{value:.4g}"

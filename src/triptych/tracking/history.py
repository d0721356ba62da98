"""The curves of a training run: one row a logged step, carried in the checkpoint."""

import csv
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from triptych.data.files import write_atomic

Sink = Callable[[int, Mapping[str, float]], None]


class History(pl.Callback):
    """Collect what the module logs, every `every` batches and after each validation; written to `path`.

    `sink(step, metrics)` receives each row as it appears (live tracking); rows
    that a resumed run already has are not sent again.
    """

    def __init__(self, path: Path, every: int = 10, sink: Sink | None = None) -> None:
        self.path, self.every, self.sink = path, every, sink
        self.rows: dict[int, dict[str, float]] = {}

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.rows = {int(step): row for step, row in state_dict["rows"].items()}

    def on_train_batch_end(
        self,
        trainer: pl.Trainer,
        pl_module: pl.LightningModule,
        outputs: Any,  # noqa: ANN401  # Lightning's type
        batch: Any,  # noqa: ANN401  # Lightning's type
        batch_idx: int,
    ) -> None:
        step = trainer.fit_loop.epoch_loop.total_batch_idx + 1
        if step % self.every == 0 or step == 1:
            self._record(step, trainer)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._record(trainer.fit_loop.epoch_loop.total_batch_idx + 1, trainer)

    def _record(self, step: int, trainer: pl.Trainer) -> None:
        row = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if row:
            self.rows.setdefault(step, {}).update(row)
            if self.sink and trainer.is_global_zero:
                self.sink(step, row)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Also where a resumed fit finds its training complete: Lightning then calls no hook of training."""
        if trainer.is_global_zero:
            self.write()

    def write(self) -> None:
        """Write the rows as CSV, `step` first."""
        names = sorted({name for row in self.rows.values() for name in row})
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, ["step", *names], lineterminator="\n")
        writer.writeheader()
        for step, row in sorted(self.rows.items()):
            writer.writerow({"step": step, **{k: f"{v:.6g}" for k, v in row.items()}})
        write_atomic(self.path, text.getvalue().encode())

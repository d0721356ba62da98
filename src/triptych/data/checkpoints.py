"""Checkpoints that go to the disk as they are, whole or not at all.

Lightning's own are first put together in memory: for a thousand discriminators and
their Adam that is the memory of the training a second time.
"""

from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.plugins.io import TorchCheckpointIO

from triptych.data.files import replacing


class StreamedCheckpoints(TorchCheckpointIO):
    """Lightning's format, written tensor by tensor."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | Path, storage_options: object | None = None
    ) -> None:
        """Write `checkpoint`; raises OutputError where there is no room."""
        if storage_options is not None:
            raise TypeError("checkpoints are files of this machine; storage options have no meaning")
        with replacing(Path(path)) as temporary, temporary.open("wb") as handle:
            try:
                torch.save(checkpoint, handle)
            except (
                RuntimeError
            ) as error:  # torch closes its archive, which is incomplete where the disk is full
                raise error.__context__ or error from None

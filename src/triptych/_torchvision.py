"""Let torchvision import beside a torch build that its C extension does not fit.

torchvision's wheel is linked against a CUDA build of torch. Beside a CPU-only
torch its extension cannot load, and torchvision then registers fake kernels for
two operators that nobody has declared, which fails with `operator
torchvision::nms does not exist`. torchmetrics, Lightning and torch-fidelity
import torchvision whenever it is installed, so they fail with it.

`install` puts a finder in front of the import system that acts at the first
import of torchvision only: it loads the extension, and where that is impossible
declares the two operators. They stay unimplemented: calling them raises.
"""

import importlib.util
import sys
from pathlib import Path

_SCHEMAS = (
    "nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
    "qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
)
_declared = None  # the library object owns the declarations: it must stay alive


def declare_missing_operators() -> bool:
    """Declare what torchvision's extension would; True if that was necessary."""
    global _declared  # owned by the module for the process's life
    if _declared is not None:
        return True
    import torch

    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return False
    for extension in sorted(Path(spec.origin).parent.glob("_C.*")):
        try:
            torch.ops.load_library(str(extension))
        except OSError:
            continue
        return False
    _declared = torch.library.Library("torchvision", "FRAGMENT")
    for schema in _SCHEMAS:
        _declared.define(schema)
    return True


class _Finder:
    """Finds nothing; declares the operators when torchvision is asked for."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name == "torchvision":
            sys.meta_path.remove(self)
            declare_missing_operators()


def install() -> None:
    """Prepare the next import of torchvision. Imports nothing by itself."""
    waiting = any(isinstance(finder, _Finder) for finder in sys.meta_path)
    if "torchvision" not in sys.modules and not waiting:
        sys.meta_path.insert(0, _Finder())

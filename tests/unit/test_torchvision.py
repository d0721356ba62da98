"""The import hook, in fresh interpreters because imports happen once."""

import subprocess
import sys

import pytest

BROKEN = "def refuse(path): raise OSError('undefined symbol')"
WORKING = "def refuse(path): pass"
SCRIPT = """
import torch
{loader}
torch.ops.load_library = refuse
from triptych._torchvision import declare_missing_operators
print(declare_missing_operators(), hasattr(torch.ops.torchvision, "nms"))
"""


def run(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize(("loader", "printed"), [(BROKEN, "True True"), (WORKING, "False False")])
def test_operators_are_declared_only_without_the_extension(loader: str, printed: str):
    """With a torchvision that matches torch the hook must leave it alone."""
    assert run(SCRIPT.format(loader=loader)) == printed


def test_bare_import_works_in_any_process():
    """Worker processes import torchvision without importing triptych first."""
    assert run("import torchvision, sys; print('triptych._torchvision' in sys.modules)") == "True"

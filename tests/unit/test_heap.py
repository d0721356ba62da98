"""Steps that need the same memory again find it, instead of asking the system for cleared pages."""

import platform
import subprocess
import sys

import pytest

STEPS = """
import resource, sys
import torch
from triptych.heap import keep_memory
if sys.argv[1] == "kept":
    keep_memory()
def step():
    return len([torch.ones(1 << 18) for _ in range(64)])
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults(kind: str) -> int:
    """Pages that the system cleared for twenty steps of 64 MB."""
    command = [sys.executable, "-c", STEPS, kind]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no mallopt")
def test_a_step_uses_the_memory_of_the_one_before():
    """Without it every step takes more than a thousand page faults."""
    assert faults("plain") > 5 * faults("kept")

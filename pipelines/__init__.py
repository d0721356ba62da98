"""Stages of dvc.yaml and the commands on their results, one module each."""

import os

# Before torch loads OpenMP: its waiting threads spin, which beside any other work takes the processor from
# those they wait for (a step of the supernet's training took ten times as long).
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

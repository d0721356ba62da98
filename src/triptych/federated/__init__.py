"""Federated training as Flower apps: the only importer of Flower.

Flower and Ray report usage to their makers unless told otherwise before they are imported.
"""

import logging
import os

os.environ.setdefault("FLWR_TELEMETRY_ENABLED", "0")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # Ray's future default; unset, it warns
logging.getLogger("alembic").setLevel(logging.WARNING)  # tells of its plugins when Flower is imported

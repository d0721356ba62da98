"""Try to refute the privacy of this code: `python -m pipelines.audit [overrides]`; exits with 1 if it does.

Not a stage: it reads no data. `privacy.audit` looks at the sanitiser, with noise
for an epsilon of 1; `private.membership` at the generators of whole trainings
of the configured release, on images of the configured size.
"""

import logging
import sys
import warnings
from dataclasses import replace
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig
from rich.console import Console
from rich.table import Table

from pipelines.stage import ROOT, told_to_stop
from triptych.config import load
from triptych.errors import TriptychError

if TYPE_CHECKING:
    from triptych.config import Config
    from triptych.config.private import PrivateConfig

TRIALS = 500  # trainings in each world
EPSILON_ONE = 3.73  # noise multiplier of one Gaussian release at delta 1e-5


def small(private: "PrivateConfig") -> "PrivateConfig":
    """The configured training in miniature, with the noise for an epsilon of 1."""
    from triptych.private.budget import calibrated

    discriminator = replace(private.discriminator, batch_size=8, trained=None, chunk=None)
    warm_start = replace(private.warm_start, steps=30, discriminator_steps=1)
    parts = {"discriminator": discriminator, "warm_start": warm_start}
    sizes = {"discriminators": 4, "rows": 8, "steps": 2, "abstain": False}
    budget = {"noise_multiplier": None, "epsilon_budget": 1.0, "method": "gswgan"}
    return calibrated(replace(private, **parts, **sizes, **budget))


def refuted(config: "Config") -> bool:
    """Run both audits and print what they measured; True where either refutes its promise."""
    from triptych.privacy.audit import audit
    from triptych.privacy.noise import random_source
    from triptych.privacy.sanitize import sanitize
    from triptych.private.membership import audit_membership

    private = config.private
    source = random_source(secure=private.secure_rng)
    door = audit(sanitize, clip_norm=private.clip_norm, noise_multiplier=EPSILON_ONE, source=source)
    whole = audit_membership(small(private), config.data, trials=TRIALS, seed=config.seed)
    table = Table("what", "promised", "measured", title="Audit: lower bounds on epsilon at 95% confidence")
    bounds = {"sanitiser": door, f"generator, release {private.release}": whole}
    for name, found in bounds.items():
        table.add_row(name, f"{found.epsilon_claimed:.3f}", f"{found.epsilon_lower_bound:.3f}")
    table.add_row("noise, standard deviation", "1", f"{door.noise_std_ratio:.4f}")
    table.add_row("noise, largest correlation", "0", f"{door.row_correlation:.4f}")
    table.add_row("largest clipped norm", "1", f"{door.clipped_norm_ratio:.6f}")
    table.add_row(
        "faults", "none", ", ".join([*door.faults, *([] if whole.kept else ["generator"])]) or "none"
    )
    Console().print(table)
    return bool(door.faults) or not whole.kept


@hydra.main(version_base="1.3", config_path=str(ROOT / "conf"), config_name="config")
def main(values: DictConfig) -> None:
    import torch

    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    try:
        with told_to_stop():  # an audit without an end has not passed
            failed = refuted(load(values))
    except TriptychError as error:
        sys.exit(f"error: {error}")
    sys.exit(int(failed))


if __name__ == "__main__":
    main()

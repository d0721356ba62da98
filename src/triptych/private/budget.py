"""What the planned training promises and whether it fits its budget: known before any work, without torch."""

import math

from triptych.config.checks import require
from triptych.config.private import PrivateConfig
from triptych.config.system import TrainerConfig
from triptych.errors import ConfigError
from triptych.privacy.accounting import epsilon, noise_for, steps_for
from triptych.privacy.certificate import Terms
from triptych.privacy.mechanism import Event, FullEnsemble, IndependentDraws


def planned_event(config: PrivateConfig) -> Event:
    """What the whole training will release."""
    if config.release == "full":
        return FullEnsemble(config.noise_multiplier, config.steps)
    return IndependentDraws(config.noise_multiplier, config.steps, config.discriminators, config.rows)


def terms(config: PrivateConfig) -> Terms:
    """The promise that `config` makes."""
    return Terms(
        event=planned_event(config),
        discriminators=config.discriminators,
        rows=config.rows,
        delta=config.delta,
        accountant=config.accountant,
        clip_norm=config.clip_norm,
        sensitivity=2 * block_norm(config),
        rng="secure" if config.secure_rng else "seeded",
    )


def block_norm(config: PrivateConfig) -> float:
    """L2 norm to which what one discriminator adds to one release is clipped."""
    return config.clip_norm * (math.sqrt(config.rows) if config.release == "full" else 1.0)


def affordable_steps(config: PrivateConfig) -> int:
    """How many steps the budget pays for.

    Raises ConfigError, naming what would fit, where the planned steps cost more.
    """
    event, delta, accountant = planned_event(config), config.delta, config.accountant
    budget = config.epsilon_budget
    cost = epsilon(event, delta, accountant=accountant)
    steps = steps_for(event, budget, delta, accountant=accountant)
    if cost > budget:
        enough = noise_for(event, budget, delta, accountant=accountant)
        noise = math.ceil(enough * 1000) / 1000  # what is printed must fit when it is typed in
        raise ConfigError(
            f"private.steps={config.steps} with private.noise_multiplier={config.noise_multiplier} would "
            f"cost epsilon={cost:.4g} ({accountant}, delta={delta:g}), above "
            f"private.epsilon_budget={budget:g}; what fits: noise_multiplier={noise:.3f} or steps={steps}"
        )
    return steps


def one_process(trainer: TrainerConfig) -> None:
    """Raise ConfigError where training would spread: each process would release, one ledger would count."""
    require(
        trainer.devices == 1,
        f"trainer.devices={trainer.devices}: private training runs on one device; set trainer.devices=1",
    )

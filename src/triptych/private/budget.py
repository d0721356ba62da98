"""Whether the planned training fits its budget: answered before any work, without torch."""

import math

from triptych.config import PrivateConfig, TrainerConfig, require
from triptych.errors import ConfigError
from triptych.privacy.accounting import epsilon, noise_for, steps_for
from triptych.privacy.mechanism import Event, FullEnsemble, IndependentDraws


def planned_event(config: PrivateConfig) -> Event:
    """What the whole training will release."""
    if config.release == "full":
        return FullEnsemble(config.noise_multiplier, config.steps)
    return IndependentDraws(config.noise_multiplier, config.steps, config.discriminators, config.rows)


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

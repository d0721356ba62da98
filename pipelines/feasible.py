"""What only the panels can tell of a config: whether it can work at all.

The schema checks values; this asks the privacy accountant and the memory
planner, so that a hopeless pipeline stops at its first second.
"""

from triptych.config import Config
from triptych.config.checks import require


def check_feasible(config: Config, panel: str) -> None:
    """Raise ConfigError where `panel` would ask for more than the budget or the board has."""
    if panel == "private":
        from triptych.private.budget import affordable_steps, calibrated, check_devices

        check_devices(config.trainer, config.private)
        affordable_steps(calibrated(config.private))
    if panel == "hinge":
        source = config.hinge.source
        require(
            source == "synthetic",
            f"hinge.source={source} is an ablation without epsilon: `python -m pipelines.hinge_ablation`; "
            "the chain takes synthetic",
        )
        require(
            config.data.channels == config.hinge.channels,
            f"data.channels={config.data.channels}, but images of hinge.target={config.hinge.target} have "
            f"{config.hinge.channels}; choose an experiment of conf/experiment/hinge",
        )
    if panel in ("tiny", "hinge"):
        from functools import partial

        from triptych.tiny.arch import search_spaces
        from triptych.tiny.cost import board_limits, require_feasible, subnet_cost

        spaces = search_spaces(config.tiny.space, config.data)
        limits = board_limits(config.board, config.tiny.reserve)
        cost = partial(subnet_cost, weight_bits=config.tiny.quantization.weight_bits)
        require_feasible(spaces, cost, limits)

"""Checks that end in one line: the bad value, and what is allowed."""

from math import inf, isqrt
from typing import Any

from triptych.errors import ConfigError

MISSING: Any = "???"


def require(condition: bool, message: str) -> None:
    """Raise ConfigError with `message` unless `condition` holds."""
    if not condition:
        raise ConfigError(message)


def choice(key: str, value: str, allowed: tuple[str, ...]) -> None:
    """Raise ConfigError unless `value` is one of `allowed`."""
    require(value in allowed, f"{key}={value} is unknown; choose one of {', '.join(allowed)}")


def positive(key: str, value: float) -> None:
    """Raise ConfigError unless `value` is above zero and finite."""
    require(0 < value < inf, f"{key}={value} must be above 0 and finite")


def equal_shards(key: str, shards: int, size: int) -> None:
    """Raise ConfigError that names the nearest divisors unless `shards` divides `size`."""
    if shards >= 1 and size % shards == 0:
        return
    small = [d for d in range(1, isqrt(size) + 1) if size % d == 0]
    divisors = sorted({*small, *(size // d for d in small)})
    below = max(d for d in divisors if d <= max(shards, 1))
    above = min(d for d in divisors if d >= min(shards, size))
    nearest = " and ".join(str(d) for d in sorted({below, above}))
    raise ConfigError(
        f"{key}={shards} does not cut data.train_size={size} into equal shards; nearest: {nearest}"
    )

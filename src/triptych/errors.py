"""Errors at the boundary: what people read when config, files or data are wrong.

Every message names the bad value and the fix. The command line prints the
message alone; inside the library, bugs crash with their own traceback.
"""


class TriptychError(Exception):
    """Something outside the program is wrong, and the message says what to do."""


class ConfigError(TriptychError, ValueError):
    """A configuration key is unknown or its value impossible."""


class DataError(TriptychError):
    """A data file is missing, corrupt or not what its name promises."""


class OutputError(TriptychError):
    """A result cannot be written where it belongs."""


class PrivacyError(TriptychError):
    """A release would break the privacy statement: it is refused."""


class UnsupportedError(TriptychError):
    """A network uses what the engine does not implement; names operator and tensor."""


class ToolchainError(TriptychError):
    """The C compiler is missing or refused the sources; carries its text."""


class BoardError(TriptychError):
    """The firmware does not fit the board; names what it needs and what there is."""


class FaultError(TriptychError):
    """The simulated processor stopped on a fault; names the address."""


class MismatchError(TriptychError):
    """The board computed something else than its reference; names the first input that differs."""


class IntegrityError(TriptychError):
    """A certified file was changed, or a signature is false; names which."""

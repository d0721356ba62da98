"""From a `.tflite` file to firmware in one call or one command: `triptych-engine`."""

from triptych.deploy.boards import BOARDS
from triptych.deploy.generate import Firmware, generate

__all__ = ["BOARDS", "Firmware", "generate"]

"""The integer network as a `.tflite` file: readable by LiteRT, TFLM and every viewer.

Written and read with the schema that ai-edge-litert ships; no TensorFlow. An
operator's name is not part of the format: it reads back as its output's name.
"""

from triptych.graph.tflite.edges import int8_part
from triptych.graph.tflite.read import read_tflite, read_tflite_file
from triptych.graph.tflite.write import write_tflite

__all__ = ["int8_part", "read_tflite", "read_tflite_file", "write_tflite"]

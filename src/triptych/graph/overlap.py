"""How far an operator's output may run into an input that dies there.

A kernel that walks its output pixels in order needs, from some pixel on, only
the end of its input: its output may follow, as long as no pixel is written over
bytes that are still to be read. Walking backwards turns that round. The distance
depends on shapes alone and is computed from the addresses of every window.

Source: Blacker, Bridges, Hadfield, "Rapid Prototyping of ... Diagonal Memory
Optimisation" (2020), for forward walks; MCUNet (NeurIPS 2020), section 3.2, is the
special case of depthwise, which `graph/memory.py` treats as exactly in place.
"""

from functools import lru_cache

import numpy as np

from triptych.graph.lifetime import Overlap
from triptych.graph.ops import AveragePool2D, Conv2D, Graph, MaxPool2D, Op, Pair, paddings_of

PIXELS = 4  # a kernel may read this many output pixels' windows before, or while, it writes any of them
Sizes = tuple[int, int, int]  # height, width, channels


def overlap_of(graph: Graph, op: Op) -> Overlap | None:
    """How the output of `op` may lie over its input; None where they must be disjoint.

    Convolutions and pools walk forwards, those that read pixels backwards too; all
    read every window of at most `PIXELS` neighbouring output pixels before they
    write beyond them.
    """
    if not isinstance(op, Conv2D | AveragePool2D | MaxPool2D):
        return None
    kernel = op.weight.shape[1:3] if isinstance(op, Conv2D) else op.window
    source, output = graph[op.input].shape[1:], graph[op.output].shape[1:]
    rows, columns = paddings_of(source[:2], kernel, op.stride, op.padding)
    below, above = distances(source, output, kernel, op.stride, (rows[0], columns[0]))
    if not (isinstance(op, Conv2D) and reads_pixels(op)):
        above = graph[op.input].size
    return Overlap(op.input, below, above)


def reads_pixels(op: Conv2D) -> bool:
    """Whether the window of `op` is the pixel itself, in whole words."""
    plain = op.padding in ("same", "valid", ((0, 0), (0, 0)))
    return op.weight.shape[1:3] == (1, 1) and op.stride == (1, 1) and plain and op.weight.shape[3] % 4 == 0


@lru_cache(maxsize=1 << 14)
def distances(source: Sizes, output: Sizes, kernel: Pair, stride: Pair, before: Pair) -> tuple[int, int]:
    """Bytes by which the output must begin below its input (forwards) or above it (backwards).

    before  rows and columns of padding above and left of the image
    Never more than keeps both disjoint: the size of the output, and of the input.
    """
    firsts, ends = _bytes_read(source, output, kernel, stride, before)
    pixels, channels = output[0] * output[1], output[2]
    start = np.arange(pixels)
    last = np.minimum(start + PIXELS, pixels)
    still_needed = np.minimum.accumulate(firsts[::-1])[::-1]  # by this pixel and all after it
    needed_before = np.maximum.accumulate(ends)
    below = int((last * channels - still_needed).max())
    above = int((needed_before[last - 1] - start * channels).max())
    return min(below, pixels * channels), min(above, source[0] * source[1] * source[2])


def _bytes_read(
    source: Sizes, output: Sizes, kernel: Pair, stride: Pair, before: Pair
) -> tuple[np.ndarray, np.ndarray]:
    """For each output pixel the first byte of its window, and the end of the last one."""
    height, width, channels = source
    corner = [np.arange(n) * step - pad for n, step, pad in zip(output[:2], stride, before, strict=True)]
    limits = (height - 1, width - 1)
    first = [np.clip(c, 0, limit) for c, limit in zip(corner, limits, strict=True)]
    last = [np.clip(c + k - 1, 0, limit) for c, k, limit in zip(corner, kernel, limits, strict=True)]
    firsts, lasts = ((y[:, None] * width + x).ravel() for y, x in (first, last))
    return firsts * channels, (lasts + 1) * channels

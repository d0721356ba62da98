"""Depthwise convolution on a plane of vertical pairs.

A channel is copied to a padded plane whose words hold two rows of one column as
int16, so that one SMLAD multiplies two rows of the window. Two output rows are
computed at once: they read the same words, one of them with weights moved down by a
row. For 3x3, four outputs take 24 multiplications and 4 LDRD.

On small maps every output's place is known when the code is generated. There the
plane holds values minus the zero point, so that padding is zero, and products with
padding are left out.

    void f(const int8_t *input, int8_t *output, void *plane, const uint32_t *stream)

In place for every stride: the channel is copied before its outputs are written, and
output (p, c) lies at an address that belongs to channel c.
"""

from triptych.engine.thumb.depthwise.emit import emit_depthwise
from triptych.engine.thumb.depthwise.form import Depthwise, stream_of, suits

__all__ = ["Depthwise", "emit_depthwise", "stream_of", "suits"]

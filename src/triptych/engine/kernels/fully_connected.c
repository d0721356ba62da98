/*
 * Matrix-vector product over the whole, flattened input. Rounds once, as LiteRT 2.3 does here even
 * in its reference kernels.
 *
 * Scratch  none
 */
#include "kernels.h"

void triptych_fully_connected(const triptych_fully_connected_op *op, const int8_t *input, int8_t *output)
{
    const triptych_output *out = &op->output;
    for (int32_t i = 0; i < op->outputs; i++) {
        const int32_t first = i * op->features, bias = out->bias[i];
        const int32_t sum = op->int4 ? triptych_dot_int4(bias, input, op->weight, first, op->features)
                                     : triptych_dot(bias, input, op->weight + first, op->features);
        const int32_t value = triptych_requantize_once(sum, out->multiplier[i], out->shift[i]);
        output[i] = triptych_clamp(value, out->zero_point, out->low, out->high);
    }
}

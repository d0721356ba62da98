/*
 * Matrix-vector product over the whole, flattened input.
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
        output[i] = triptych_finish_product(out, i, sum);
    }
}

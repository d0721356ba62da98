/*
 * The same reals on another grid. Rounds twice, as TFLite.
 *
 * Scratch   none
 * In place  output may equal input: element i is read before it is written.
 */
#include "kernels.h"

void triptych_rescale(const triptych_rescale_op *op, const int8_t *input, int8_t *output)
{
    for (int32_t i = 0; i < op->size; i++) {
        const int32_t value = triptych_requantize(input[i] - op->input_zero_point, op->multiplier, op->shift);
        output[i] = triptych_clamp(value, op->output_zero_point, -128, 127);
    }
}

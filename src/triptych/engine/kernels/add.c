/*
 * Elementwise sum of two tensors of one shape and different scales.
 *
 * Both inputs are raised by 20 bits and brought to a common scale before they are added (TFLite).
 * Scratch   none
 * In place  output may equal either input, or both: element i is read before it is written.
 */
#include "kernels.h"

#define HEADROOM ((int32_t)1 << 20)

void triptych_add(const triptych_add_op *op, const int8_t *first, const int8_t *second, int8_t *output)
{
    for (int32_t i = 0; i < op->size; i++) {
        const int32_t a = triptych_requantize((first[i] - op->zero_point[0]) * HEADROOM, op->multiplier[0],
                                              op->shift[0]);
        const int32_t b = triptych_requantize((second[i] - op->zero_point[1]) * HEADROOM, op->multiplier[1],
                                              op->shift[1]);
        const int32_t sum = triptych_requantize(a + b, op->output_multiplier, op->output_shift);
        output[i] = triptych_clamp(sum, op->output_zero_point, op->low, op->high);
    }
}

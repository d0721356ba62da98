/*
 * Elementwise sum of two tensors of one shape and different scales.
 *
 * Scratch   none
 * In place  output may equal either input, or both: element i is read before it is written.
 */
#include "kernels.h"

void triptych_add(const triptych_add_op *op, const int8_t *first, const int8_t *second, int8_t *output)
{
    for (int32_t i = 0; i < op->size; i++)
        output[i] = triptych_sum(op, first[i], second[i]);
}

/*
 * The same reals on another grid.
 *
 * Scratch   none
 * In place  output may equal input: element i is read before it is written.
 */
#include "kernels.h"

void triptych_rescale(const triptych_rescale_op *op, const int8_t *input, int8_t *output)
{
    for (int32_t i = 0; i < op->size; i++)
        output[i] = triptych_rescaled(op, input[i]);
}

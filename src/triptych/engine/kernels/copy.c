/*
 * A reshape whose input lives on: the same bytes at another place.
 *
 * Scratch  none
 */
#include "kernels.h"

void triptych_copy(const triptych_copy_op *op, const int8_t *input, int8_t *output)
{
    for (int32_t i = 0; i < op->size; i++)
        output[i] = input[i];
}

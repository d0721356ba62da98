/*
 * Average over rows, over columns, or over both, from one scale to another.
 *
 * Scratch  none
 */
#include "kernels.h"

void triptych_mean(const triptych_mean_op *op, const int8_t *input, int8_t *output)
{
    const int32_t rows = op->over_rows ? op->height : 1, columns = op->over_columns ? op->width : 1;
    for (int32_t y = 0; y < op->height; y += rows)
        for (int32_t x = 0; x < op->width; x += columns)
            for (int32_t channel = 0; channel < op->channels; channel++) {
                int32_t sum = 0;
                for (int32_t i = y; i < y + rows; i++)
                    for (int32_t j = x; j < x + columns; j++)
                        sum += input[(i * op->width + j) * op->channels + channel];
                *output++ = triptych_mean_of(&op->factor, sum, op->low, op->high);
            }
}

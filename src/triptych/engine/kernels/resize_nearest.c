/*
 * Nearest-neighbour resize: every output pixel is a copy of the input pixel that the generator chose.
 *
 * Scratch  none
 */
#include "kernels.h"

void triptych_resize_nearest(const triptych_resize_nearest_op *op, const int8_t *input, int8_t *output)
{
    for (int32_t y = 0; y < op->output_height; y++)
        for (int32_t x = 0; x < op->output_width; x++) {
            const int8_t *pixel = input + (op->row[y] * op->input_width + op->column[x]) * op->channels;
            for (int32_t channel = 0; channel < op->channels; channel++)
                *output++ = pixel[channel];
        }
}

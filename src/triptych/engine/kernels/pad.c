/*
 * Copy of an image inside a border of rows, columns and channels of one value.
 *
 * Scratch  none
 */
#include "kernels.h"

static int8_t *fill(int8_t *output, int32_t count, int32_t value)
{
    for (; count > 0; count--)
        *output++ = (int8_t)value;
    return output;
}

void triptych_pad(const triptych_pad_op *op, const int8_t *input, int8_t *output)
{
    const int32_t channels = op->front + op->channels + op->back;
    const int32_t row = (op->left + op->width + op->right) * channels;
    output = fill(output, op->top * row, op->value);
    for (int32_t y = 0; y < op->height; y++) {
        output = fill(output, op->left * channels, op->value);
        for (int32_t x = 0; x < op->width; x++) {
            output = fill(output, op->front, op->value);
            for (int32_t channel = 0; channel < op->channels; channel++)
                *output++ = *input++;
            output = fill(output, op->back, op->value);
        }
        output = fill(output, op->right * channels, op->value);
    }
    fill(output, op->bottom * row, op->value);
}

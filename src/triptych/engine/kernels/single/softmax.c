/*
 * Softmax over the channels of each row; the output is in 1/256 with zero point -128.
 *
 * LiteRT's optimised kernel: exponentials from a table, summed in float32 from left to right, shares
 * rounded half away from zero.
 *
 * Scratch   none
 * In place  output may equal input: a row is read to its end before it is written, and element i is
 *           read before it is written.
 */
#include "kernels.h"

/* `volatile` keeps compilers from fusing the product into the subtraction that follows. */
static int32_t rounded_product(float a, float b)
{
    const volatile float product = a * b;
    const float value = product;
    const int32_t whole = (int32_t)value;
    return whole + (value - (float)whole >= 0.5f);
}

void triptych_softmax(const triptych_softmax_op *op, const int8_t *input, int8_t *output)
{
    for (int32_t row = 0; row < op->rows; row++, input += op->channels, output += op->channels) {
        const int32_t most = triptych_largest(input, op->channels);
        float sum = 0.0f;
        for (int32_t i = 0; i < op->channels; i++)
            sum += op->table[most - input[i]];
        const float scale = 1.0f / (sum * (1.0f / 256.0f));
        for (int32_t i = 0; i < op->channels; i++)
            output[i] = triptych_clamp(rounded_product(op->table[most - input[i]], scale), -128, -128, 127);
    }
}

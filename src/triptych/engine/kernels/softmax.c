/*
 * Softmax over the channels of each row; the output is in 1/256 with zero point -128.
 *
 * TFLite's fixed point (gemmlowp): exponentials are a table in Q0.31, their sum is Q12.19, one
 * reciprocal a row by Newton and Raphson.
 *
 * Scratch   none
 * In place  output may equal input: a row is read to its end before it is written, and element i is
 *           read before it is written.
 */
#include "kernels.h"

/* round(a * b / 2^31), as gemmlowp: the nudge, then truncation towards zero */
static int64_t high_multiply(int64_t a, int64_t b)
{
    const int64_t product = a * b;
    const int64_t nudge = product >= 0 ? (int64_t)1 << 30 : 1 - ((int64_t)1 << 30);
    return (product + nudge) / ((int64_t)1 << 31);
}

/* 1 / (1 + a) in Q0.31 for a in [0, 1) */
static int32_t reciprocal(int64_t a)
{
    const int64_t half = (a + ((int64_t)1 << 31)) / 2;
    int64_t x = 1515870810 + high_multiply(half, -1010580540);
    for (int32_t i = 0; i < 3; i++)
        x += high_multiply(x, ((int64_t)1 << 29) - high_multiply(half, x)) * 4;
    return x * 2 > INT32_MAX ? INT32_MAX : (int32_t)(x * 2);
}

void triptych_softmax(const triptych_softmax_op *op, const int8_t *input, int8_t *output)
{
    for (int32_t row = 0; row < op->rows; row++, input += op->channels, output += op->channels) {
        const int32_t most = triptych_largest(input, op->channels);
        uint32_t sum = 0;
        for (int32_t i = 0; i < op->channels; i++)
            sum += ((uint32_t)op->table[most - input[i]] + (1u << 11)) >> 12;
        int32_t headroom = 0;
        for (; !(sum & 0x80000000u); headroom++)
            sum <<= 1;
        const int32_t scale = reciprocal((int64_t)sum - ((int64_t)1 << 31));
        const int32_t bits = 12 - headroom + 23; /* 23 to 35: the sum is at least one */
        const int64_t half = (int64_t)1 << (bits - 1);
        for (int32_t i = 0; i < op->channels; i++) {
            const int64_t share = high_multiply(scale, op->table[most - input[i]]); /* not negative */
            output[i] = triptych_clamp((int32_t)((share + half) >> bits), -128, -128, 127);
        }
    }
}

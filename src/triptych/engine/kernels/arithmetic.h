/*
 * TFLite's arithmetic, bit-exact with LiteRT's reference kernels: convolutions, sums, means and
 * rescaling round twice, matrix products once, as LiteRT 2.3 does even in its reference kernels.
 */
#ifndef TRIPTYCH_ARITHMETIC_H
#define TRIPTYCH_ARITHMETIC_H

#include <stdint.h>

#include "common.h"

/* From accumulators to int8: one bias, multiplier (Q31) and shift (left, -31..30) a channel. */
typedef struct {
    const int32_t *bias; /* the input's zero point is folded in: bias - zero_point * sum(weight) */
    const int32_t *multiplier;
    const int8_t *shift;
    int32_t zero_point, low, high; /* of the output; low and high are the fused activation */
} triptych_output;

typedef struct {
    int32_t size;
    int32_t zero_point[2], multiplier[2], shift[2]; /* of the two inputs */
    int32_t output_zero_point, output_multiplier, output_shift, low, high;
} triptych_add_op;

/* Of the sum of the values; bias = -count * zero point of the input */
typedef struct {
    int32_t bias, multiplier, shift, zero_point;
} triptych_mean_factor;

typedef struct {
    int32_t size, input_zero_point, multiplier, shift, output_zero_point;
} triptych_rescale_op;

typedef int32_t triptych_power; /* Q0.31 */

/*
 * round(value * multiplier * 2^(shift - 31)) in one step, ties towards +infinity.
 * The result must fit int32.
 */
static inline int32_t triptych_requantize_once(int32_t value, int32_t multiplier, int32_t shift)
{
    const int32_t right = 31 - shift;
    const int64_t half = (int64_t)1 << (right - 1);
    return (int32_t)triptych_shift_right_long((int64_t)value * multiplier + half, right);
}

/*
 * round(value * multiplier * 2^(shift - 31)): the product rounded to its high word with ties
 * towards +infinity, then the right shift with ties away from zero (gemmlowp).
 * value * 2^shift must fit int32 where shift > 0.
 */
static inline int32_t triptych_requantize(int32_t value, int32_t multiplier, int32_t shift)
{
    const int32_t left = shift > 0 ? shift : 0;
    const int32_t right = left - shift;
    const int64_t product = (int64_t)(value * ((int32_t)1 << left)) * multiplier;
    /* bits 31 to 62 of the rounded product, whatever its sign */
    const int32_t high = (int32_t)(uint32_t)(((uint64_t)product + ((uint64_t)1 << 30)) >> 31);
    if (right == 0)
        return high;
    return triptych_shift_right(triptych_shift_right(high - (high < 0), right - 1) + 1, 1);
}

/* What turns the accumulators of one channel into outputs, for loops over many: it stays in registers. */
typedef struct {
    int32_t multiplier, shift, zero_point, low, high;
} triptych_channel;

static inline triptych_channel triptych_channel_of(const triptych_output *output, int32_t channel)
{
    return (triptych_channel){output->multiplier[channel], output->shift[channel], output->zero_point,
                              output->low, output->high};
}

static inline int8_t triptych_finish_channel(triptych_channel c, int32_t sum)
{
    return triptych_clamp(triptych_requantize(sum, c.multiplier, c.shift), c.zero_point, c.low, c.high);
}

/* An accumulator of a convolution as an output value. */
static inline int8_t triptych_finish(const triptych_output *output, int32_t channel, int32_t sum)
{
    const int32_t value = triptych_requantize(sum, output->multiplier[channel], output->shift[channel]);
    return triptych_clamp(value, output->zero_point, output->low, output->high);
}

/* An accumulator of a matrix product as an output value. */
static inline int8_t triptych_finish_product(const triptych_output *output, int32_t channel, int32_t sum)
{
    const int32_t value =
        triptych_requantize_once(sum, output->multiplier[channel], output->shift[channel]);
    return triptych_clamp(value, output->zero_point, output->low, output->high);
}

/* Both inputs are raised by 20 bits and brought to a common scale before they are added. */
static inline int8_t triptych_sum(const triptych_add_op *op, int32_t first, int32_t second)
{
    const int32_t headroom = (int32_t)1 << 20;
    const int32_t a =
        triptych_requantize((first - op->zero_point[0]) * headroom, op->multiplier[0], op->shift[0]);
    const int32_t b =
        triptych_requantize((second - op->zero_point[1]) * headroom, op->multiplier[1], op->shift[1]);
    const int32_t sum = triptych_requantize(a + b, op->output_multiplier, op->output_shift);
    return triptych_clamp(sum, op->output_zero_point, op->low, op->high);
}

static inline int8_t triptych_mean_of(const triptych_mean_factor *f, int32_t sum, int32_t low, int32_t high)
{
    return triptych_clamp(triptych_requantize(sum + f->bias, f->multiplier, f->shift), f->zero_point, low, high);
}

static inline int8_t triptych_rescaled(const triptych_rescale_op *op, int32_t value)
{
    value = triptych_requantize(value - op->input_zero_point, op->multiplier, op->shift);
    return triptych_clamp(value, op->output_zero_point, -128, 127);
}

#endif

/*
 * Every result is rounded once, bit-exact with XNNPACK (LiteRT's default): accumulators are multiplied
 * with a float and go to the nearest integer, ties to even. Needs IEEE 754 floats, evaluated as such.
 */
#ifndef TRIPTYCH_ARITHMETIC_H
#define TRIPTYCH_ARITHMETIC_H

#include <stdint.h>

#include "common.h"

#define TRIPTYCH_ROUND_ONCE

/* From accumulators to int8: one bias and scale a channel. */
typedef struct {
    const int32_t *bias; /* the input's zero point is folded in: bias - zero_point * sum(weight) */
    const float *scale;
    int32_t zero_point, low, high; /* of the output; low and high are the fused activation */
} triptych_output;

typedef struct {
    int32_t size;
    int32_t multiplier[2], bias, shift; /* zero points and half a step are in the bias */
    int32_t output_zero_point, low, high;
} triptych_add_op;

/* Of the sum of the values; the bias has both zero points. */
typedef struct {
    float scale, bias;
} triptych_mean_factor;

typedef struct {
    int32_t size, input_zero_point, multiplier, output_zero_point; /* the multiplier in 1/256 */
} triptych_rescale_op;

typedef float triptych_power;

/*
 * round(value) + zero_point, ties to even, clamped. The clamp comes first, which keeps compilers from
 * fusing the product before it with the sum after it. 1.5 * 2^23 makes the last bit of a float one.
 */
static inline int8_t triptych_nearest(float value, int32_t zero_point, int32_t low, int32_t high)
{
    const float least = (float)(low - zero_point), most = (float)(high - zero_point);
    union {
        float real;
        int32_t bits;
    } moved;
    value = value < least ? least : value;
    value = value > most ? most : value;
    moved.real = value + 12582912.0f;
    return (int8_t)(moved.bits - 0x4B400000 + zero_point);
}

/* What turns the accumulators of one channel into outputs, for loops over many: it stays in registers. */
typedef struct {
    float scale;
    int32_t zero_point, low, high;
} triptych_channel;

static inline triptych_channel triptych_channel_of(const triptych_output *output, int32_t channel)
{
    return (triptych_channel){output->scale[channel], output->zero_point, output->low, output->high};
}

static inline int8_t triptych_finish_channel(triptych_channel c, int32_t sum)
{
    return triptych_nearest((float)sum * c.scale, c.zero_point, c.low, c.high);
}

/* An accumulator as an output value. */
static inline int8_t triptych_finish(const triptych_output *output, int32_t channel, int32_t sum)
{
    return triptych_finish_channel(triptych_channel_of(output, channel), sum);
}

static inline int8_t triptych_finish_product(const triptych_output *output, int32_t channel, int32_t sum)
{
    return triptych_finish(output, channel, sum);
}

/* Factors have 21 bits: the sum needs 31. */
static inline int8_t triptych_sum(const triptych_add_op *op, int32_t first, int32_t second)
{
    const int32_t sum = op->bias + first * op->multiplier[0] + second * op->multiplier[1];
    return triptych_clamp(triptych_shift_right(sum, op->shift), op->output_zero_point, op->low, op->high);
}

/* `volatile` keeps compilers from fusing the product with the sum that follows. */
static inline int8_t triptych_mean_of(const triptych_mean_factor *f, int32_t sum, int32_t low, int32_t high)
{
    const volatile float product = (float)sum * f->scale;
    return triptych_nearest(product + f->bias, 0, low, high);
}

static inline int8_t triptych_rescaled(const triptych_rescale_op *op, int32_t value)
{
    value = triptych_shift_right((value - op->input_zero_point) * op->multiplier + 128, 8);
    return triptych_clamp(value, op->output_zero_point, -128, 127);
}

#endif

/*
 * The same operators as the generated code, in two styles that are usual elsewhere.
 *
 * naive    loops of a reference implementation, inlined with every size a compile-time constant
 * library  one function an operator for all shapes: convolutions over int16 columns (im2col), two pixels by two
 *          channels a turn with SMLAD; depthwise four channels a turn; requantization with generic shifts
 *
 * Both round as TFLite and are checked against the reference. Input and output are disjoint.
 */
#ifndef RIVALS_H
#define RIVALS_H

#include <stdint.h>

typedef struct {
    int32_t input_height, input_width, input_channels, output_height, output_width, output_channels;
    int32_t kernel_height, kernel_width, stride_height, stride_width, pad_top, pad_left;
    int32_t input_zero_point, output_zero_point, low, high;
} rival_shape;

/* Weights as in the file: [out][height][width][in], depthwise [height][width][channels], [out][in]. */
typedef struct {
    const int8_t *weight;
    const int32_t *bias, *multiplier;
    const int8_t *shift;
} rival_constants;

typedef struct {
    int32_t size, zero_point[2], multiplier[2], shift[2];
    int32_t output_zero_point, output_multiplier, output_shift, low, high;
} rival_sum;

static inline int32_t rival_clamp(int32_t value, int32_t low, int32_t high)
{
    return value < low ? low : value > high ? high : value;
}

/* Saturating rounding doubling high multiplication, then a rounding division by a power of two (gemmlowp). */
static inline int32_t rival_requantize(int32_t value, int32_t multiplier, int32_t shift)
{
    const int32_t left = shift > 0 ? shift : 0, right = shift > 0 ? 0 : -shift;
    const int64_t product = (int64_t)(int32_t)((uint32_t)value << left) * multiplier + ((int64_t)1 << 30);
    const int32_t high = (int32_t)(product >> 31);
    const int32_t mask = (int32_t)(((uint32_t)1 << right) - 1), remainder = high & mask;
    const int32_t threshold = (mask >> 1) + (high < 0);
    return (high >> right) + (remainder > threshold);
}

/* One rounding, as LiteRT's matrix products. */
static inline int32_t rival_requantize_once(int32_t value, int32_t multiplier, int32_t shift)
{
    const int32_t right = 31 - shift;
    return (int32_t)(((int64_t)value * multiplier + ((int64_t)1 << (right - 1))) >> right);
}

static inline int8_t rival_finish(const rival_shape *s, const rival_constants *c, int32_t channel, int32_t sum)
{
    const int32_t value = rival_requantize(sum, c->multiplier[channel], c->shift[channel]);
    return (int8_t)rival_clamp(value + s->output_zero_point, s->low, s->high);
}

/* `columns`: two windows of int16. */
void library_conv2d(const rival_shape *s, const rival_constants *c, const int8_t *input, int8_t *output,
                    int16_t *columns);
void library_depthwise(const rival_shape *s, const rival_constants *c, const int8_t *input, int8_t *output);
void library_fully_connected(const rival_shape *s, const rival_constants *c, const int8_t *input, int8_t *output);
void library_add(const rival_sum *s, const int8_t *first, const int8_t *second, int8_t *output);

#endif

/*
 * int8 kernels of Triptych: contracts.
 *
 * Layout      activations NHWC, batch 1, one byte an element, no alignment needed
 * Arithmetic  arithmetic.h: how sums become int8
 * Overflow    the generator proves that no accumulator leaves int32
 * Aliasing    input and output are disjoint, unless a kernel says that it works in place or that
 *             they may overlap. Then it handles output pixels in order, and before or while it
 *             writes any of TRIPTYCH_OVERLAP_PIXELS neighbours it reads nothing but their windows
 *             and those of later pixels: forwards the output begins that far below the input that
 *             it never reaches bytes still to be read; backwards (`backwards`), as far above.
 *
 * C99 without a library.
 */
#ifndef TRIPTYCH_KERNELS_H
#define TRIPTYCH_KERNELS_H

#include <stdint.h>

#include "arithmetic.h"
#include "dsp.h"

#define TRIPTYCH_OVERLAP_PIXELS 4 /* the planner's distances hold for kernels that take up to so many at once */

/* A window sliding over an image; `pad_*` are rows and columns before the image. */
typedef struct {
    int32_t input_height, input_width, output_height, output_width;
    int32_t kernel_height, kernel_width, stride_height, stride_width;
    int32_t pad_top, pad_left;
} triptych_window;

/*
 * Weights of two output channels lie side by side, [block][kernel_height][kernel_width] and for each
 * tap runs of four input channels, [input_channels / 4][TRIPTYCH_CONV2D_BLOCK][4], then the input
 * channels that remain, [input_channels % 4][TRIPTYCH_CONV2D_BLOCK]. An output channel that remains
 * follows as [kernel_height][kernel_width][input_channels].
 */
#define TRIPTYCH_CONV2D_BLOCK 2

typedef struct {
    triptych_window window;
    triptych_output output;
    const int8_t *weight;
    const int8_t *padding; /* input_channels times the input's zero point; unused without padding */
    int32_t input_channels, output_channels;
    int32_t backwards; /* 1: from the last output pixel to the first, so that the output may lie above the input */
} triptych_conv2d_op;

typedef struct {
    triptych_window window;
    triptych_output output;
    const int8_t *weight; /* [channels][kernel_height][kernel_width] */
    int32_t channels, input_zero_point;
    int32_t int4; /* 1: weights of 4 bits, two a byte */
} triptych_depthwise_conv2d_op;

typedef struct {
    triptych_output output;
    const int8_t *weight; /* [outputs][features] */
    int32_t features, outputs;
    int32_t int4; /* 1: weights of 4 bits, two a byte */
} triptych_fully_connected_op;

typedef struct {
    triptych_window window;
    int32_t channels, low, high;
} triptych_average_pool2d_op;

typedef triptych_average_pool2d_op triptych_max_pool2d_op;

typedef struct {
    int32_t height, width, channels;   /* of the input */
    int32_t over_rows, over_columns;   /* 0 or 1: what is averaged */
    triptych_mean_factor factor;
    int32_t low, high; /* of the output */
} triptych_mean_op;

/* Rows, columns and channels of `value` around an image. */
typedef struct {
    int32_t height, width, channels; /* of the input */
    int32_t top, bottom, left, right, front, back, value;
} triptych_pad_op;

typedef struct {
    const int32_t *row, *column; /* of the input, for each row and column of the output */
    int32_t output_height, output_width, input_width, channels;
} triptych_resize_nearest_op;

typedef struct {
    const triptych_power *table; /* exp of minus k steps of the input, k = 0 to 255 */
    int32_t rows, channels;
} triptych_softmax_op;

typedef struct {
    int32_t size;
} triptych_copy_op;

void triptych_conv2d(const triptych_conv2d_op *op, const int8_t *input, int8_t *output);
void triptych_conv2d_int4(const triptych_conv2d_op *op, const int8_t *input, int8_t *output);
void triptych_depthwise_conv2d(const triptych_depthwise_conv2d_op *op, const int8_t *input, int8_t *output,
                               int8_t *plane);
void triptych_fully_connected(const triptych_fully_connected_op *op, const int8_t *input, int8_t *output);
void triptych_add(const triptych_add_op *op, const int8_t *first, const int8_t *second, int8_t *output);
void triptych_average_pool2d(const triptych_average_pool2d_op *op, const int8_t *input, int8_t *output);
void triptych_max_pool2d(const triptych_max_pool2d_op *op, const int8_t *input, int8_t *output);
void triptych_mean(const triptych_mean_op *op, const int8_t *input, int8_t *output);
void triptych_pad(const triptych_pad_op *op, const int8_t *input, int8_t *output);
void triptych_resize_nearest(const triptych_resize_nearest_op *op, const int8_t *input, int8_t *output);
void triptych_softmax(const triptych_softmax_op *op, const int8_t *input, int8_t *output);
void triptych_rescale(const triptych_rescale_op *op, const int8_t *input, int8_t *output);
void triptych_copy(const triptych_copy_op *op, const int8_t *input, int8_t *output);

static inline int32_t triptych_largest(const int8_t *values, int32_t count)
{
    int32_t most = values[0];
    for (int32_t i = 1; i < count; i++)
        most = values[i] > most ? values[i] : most;
    return most;
}

/* sum + a . b */
static inline int32_t triptych_dot(int32_t sum, const int8_t *a, const int8_t *b, int32_t length)
{
    int32_t i = 0;
    for (; i + 4 <= length; i += 4)
        sum = triptych_dot_four(sum, triptych_load_four(a + i), triptych_load_four(b + i));
    for (; i < length; i++)
        sum += (int32_t)a[i] * b[i];
    return sum;
}

/* Value `index` of weights of 4 bits: two a byte, the first in the low half */
static inline int32_t triptych_int4(const int8_t *packed, int32_t index)
{
    const uint32_t half = ((uint32_t)packed[index / 2] >> (4 * (index % 2))) & 15u;
    return (int32_t)(half ^ 8u) - 8;
}

/* sum + a . b, where `b` are weights of 4 bits from number `first` on */
static inline int32_t triptych_dot_int4(int32_t sum, const int8_t *a, const int8_t *b, int32_t first,
                                        int32_t length)
{
    for (int32_t i = 0; i < length; i++)
        sum += a[i] * triptych_int4(b, first + i);
    return sum;
}

#endif

/*
 * Convolution.
 *
 * Scratch  none
 * Four output channels share each load of the input, and their weights lie side by side. Taps
 * outside the image read `padding`, so that the zero point folded into the bias is exact
 * everywhere; a kernel row inside the image is one contiguous run of
 * kernel_width * input_channels values.
 */
#include "kernels.h"

#define BLOCK TRIPTYCH_CONV2D_BLOCK

/* sum[i] += x . weight[.][i] for the channels of a block; scalars, so that they stay in registers */
static inline void dot_block(int32_t *sum, const int8_t *x, const int8_t *weight, int32_t length)
{
    int32_t s0 = sum[0], s1 = sum[1], s2 = sum[2], s3 = sum[3];
    for (const int8_t *const end = x + length; x < end; weight += BLOCK) {
        const int32_t value = *x++;
        s0 += value * weight[0];
        s1 += value * weight[1];
        s2 += value * weight[2];
        s3 += value * weight[3];
    }
    sum[0] = s0, sum[1] = s1, sum[2] = s2, sum[3] = s3;
}

/* `count` is a constant where this is inlined: BLOCK or 1 */
static inline void dot(int32_t count, int32_t *sum, const int8_t *x, const int8_t *weight, int32_t length)
{
    if (count == BLOCK)
        dot_block(sum, x, weight, length);
    else
        *sum = triptych_dot(*sum, x, weight, length);
}

static inline void sum_window(int32_t count, int32_t *sum, const triptych_conv2d_op *op, const int8_t *input,
                              int32_t y, int32_t x, const int8_t *weight)
{
    const triptych_window *w = &op->window;
    const int32_t channels = op->input_channels, row = w->kernel_width * channels;
    const int columns_inside = x >= 0 && x + w->kernel_width <= w->input_width;
    for (int32_t end = y + w->kernel_height; y < end; y++, weight += count * row) {
        const int row_inside = y >= 0 && y < w->input_height;
        if (row_inside && columns_inside) {
            dot(count, sum, input + (y * w->input_width + x) * channels, weight, row);
            continue;
        }
        for (int32_t k = 0; k < w->kernel_width; k++) {
            const int inside = row_inside && x + k >= 0 && x + k < w->input_width;
            const int8_t *tap = inside ? input + (y * w->input_width + x + k) * channels : op->padding;
            dot(count, sum, tap, weight + count * k * channels, channels);
        }
    }
}

/* The output pixel whose window begins at (y, x) of the input, which may lie outside. */
static void pixel(const triptych_conv2d_op *op, const int8_t *input, int32_t y, int32_t x, int8_t *output)
{
    const int32_t taps = op->window.kernel_height * op->window.kernel_width * op->input_channels;
    const int32_t *bias = op->output.bias;
    const int8_t *weight = op->weight;
    int32_t channel = 0;
    for (; channel + BLOCK <= op->output_channels; channel += BLOCK, weight += BLOCK * taps) {
        int32_t sum[BLOCK];
        for (int32_t i = 0; i < BLOCK; i++)
            sum[i] = bias[channel + i];
        sum_window(BLOCK, sum, op, input, y, x, weight);
        for (int32_t i = 0; i < BLOCK; i++)
            output[channel + i] = triptych_finish(&op->output, channel + i, sum[i]);
    }
    for (; channel < op->output_channels; channel++, weight += taps) {
        int32_t sum = bias[channel];
        sum_window(1, &sum, op, input, y, x, weight);
        output[channel] = triptych_finish(&op->output, channel, sum);
    }
}

void triptych_conv2d(const triptych_conv2d_op *op, const int8_t *input, int8_t *output)
{
    const triptych_window *w = &op->window;
    for (int32_t y = 0; y < w->output_height; y++)
        for (int32_t x = 0; x < w->output_width; x++, output += op->output_channels)
            pixel(op, input, y * w->stride_height - w->pad_top, x * w->stride_width - w->pad_left, output);
}

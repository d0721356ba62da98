/*
 * Convolution.
 *
 * Scratch  none
 * Taps outside the image read `padding`, so that the zero point folded into the bias is
 * exact everywhere. A kernel row inside the image is one contiguous run of
 * kernel_width * input_channels values.
 */
#include "kernels.h"

static int32_t dot_row(const triptych_conv2d_op *op, int32_t sum, const int8_t *input, int32_t y, int32_t x,
                       const int8_t *weight)
{
    const triptych_window *w = &op->window;
    const int32_t channels = op->input_channels;
    const int row_inside = y >= 0 && y < w->input_height;
    if (row_inside && x >= 0 && x + w->kernel_width <= w->input_width)
        return triptych_dot(sum, input + (y * w->input_width + x) * channels, weight,
                            w->kernel_width * channels);
    for (int32_t k = 0; k < w->kernel_width; k++, x++, weight += channels) {
        const int inside = row_inside && x >= 0 && x < w->input_width;
        const int8_t *tap = inside ? input + (y * w->input_width + x) * channels : op->padding;
        sum = triptych_dot(sum, tap, weight, channels);
    }
    return sum;
}

static void pixel(const triptych_conv2d_op *op, const int8_t *input, int32_t y, int32_t x, int8_t *output)
{
    const triptych_window *w = &op->window;
    const int32_t row = w->kernel_width * op->input_channels;
    const int8_t *weight = op->weight;
    for (int32_t channel = 0; channel < op->output_channels; channel++) {
        int32_t sum = op->output.bias[channel];
        for (int32_t k = 0; k < w->kernel_height; k++, weight += row)
            sum = dot_row(op, sum, input, y + k, x, weight);
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

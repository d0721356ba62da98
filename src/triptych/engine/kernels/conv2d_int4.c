/*
 * Convolution with weights of 4 bits: [output_channels][kernel_height][kernel_width][input_channels],
 * two a byte, the first in the low half.
 *
 * Scratch  none
 * Overlap  output may run into input as `kernels.h` says: pixels in order, forwards or backwards,
 *          one at a time
 */
#include "kernels.h"

/* Channel `channel` of the output pixel whose window begins at row `top` and column `left`. */
static int32_t sum_window(const triptych_conv2d_op *op, const int8_t *input, int32_t top, int32_t left,
                          int32_t channel)
{
    const triptych_window *w = &op->window;
    const int32_t channels = op->input_channels;
    int32_t sum = op->output.bias[channel];
    int32_t at = channel * w->kernel_height * w->kernel_width * channels;
    for (int32_t y = top; y < top + w->kernel_height; y++)
        for (int32_t x = left; x < left + w->kernel_width; x++, at += channels) {
            const int inside = y >= 0 && y < w->input_height && x >= 0 && x < w->input_width;
            const int8_t *pixel = inside ? input + (y * w->input_width + x) * channels : op->padding;
            sum = triptych_dot_int4(sum, pixel, op->weight, at, channels);
        }
    return sum;
}

void triptych_conv2d_int4(const triptych_conv2d_op *op, const int8_t *input, int8_t *output)
{
    const triptych_window *w = &op->window;
    const int32_t pixels = w->output_height * w->output_width;
    for (int32_t i = 0; i < pixels; i++) {
        const int32_t pixel = op->backwards ? pixels - 1 - i : i;
        const int32_t top = pixel / w->output_width * w->stride_height - w->pad_top;
        const int32_t left = pixel % w->output_width * w->stride_width - w->pad_left;
        for (int32_t channel = 0; channel < op->output_channels; channel++) {
            const int32_t sum = sum_window(op, input, top, left, channel);
            output[pixel * op->output_channels + channel] = triptych_finish(&op->output, channel, sum);
        }
    }
}

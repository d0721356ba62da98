/*
 * Depthwise convolution.
 *
 * Scratch   plane: ((output_height - 1) * stride_height + kernel_height)
 *                * ((output_width - 1) * stride_width + kernel_width) bytes
 * In place  output may equal input, for every stride: channel c is copied to the plane before
 *           it is written, and output (p, c) lies at p * channels + c, which belongs to channel c.
 */
#include "kernels.h"

static void copy_channel(const triptych_depthwise_conv2d_op *op, const int8_t *input, int8_t *plane)
{
    const triptych_window *w = &op->window;
    const int32_t height = (w->output_height - 1) * w->stride_height + w->kernel_height;
    const int32_t width = (w->output_width - 1) * w->stride_width + w->kernel_width;
    for (int32_t y = -w->pad_top; y < height - w->pad_top; y++)
        for (int32_t x = -w->pad_left; x < width - w->pad_left; x++) {
            const int inside = y >= 0 && y < w->input_height && x >= 0 && x < w->input_width;
            *plane++ = inside ? input[(y * w->input_width + x) * op->channels] : (int8_t)op->input_zero_point;
        }
}

static void convolve_plane(const triptych_depthwise_conv2d_op *op, int32_t channel, const int8_t *plane,
                           int8_t *output)
{
    const triptych_window *w = &op->window;
    const int32_t width = (w->output_width - 1) * w->stride_width + w->kernel_width;
    const int8_t *weight = op->weight + channel * w->kernel_height * w->kernel_width;
    for (int32_t y = 0; y < w->output_height; y++)
        for (int32_t x = 0; x < w->output_width; x++, output += op->channels) {
            const int8_t *corner = plane + y * w->stride_height * width + x * w->stride_width;
            int32_t sum = op->output.bias[channel];
            for (int32_t k = 0; k < w->kernel_height; k++)
                sum = triptych_dot(sum, corner + k * width, weight + k * w->kernel_width, w->kernel_width);
            *output = triptych_finish(&op->output, channel, sum);
        }
}

void triptych_depthwise_conv2d(const triptych_depthwise_conv2d_op *op, const int8_t *input, int8_t *output,
                               int8_t *plane)
{
    for (int32_t channel = 0; channel < op->channels; channel++) {
        copy_channel(op, input + channel, plane);
        convolve_plane(op, channel, plane, output + channel);
    }
}

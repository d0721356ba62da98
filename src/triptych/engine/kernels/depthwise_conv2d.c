/*
 * Depthwise convolution.
 *
 * Scratch   plane: ((output_height - 1) * stride_height + kernel_height)
 *                * ((output_width - 1) * stride_width + kernel_width) bytes
 * In place  output may equal input, for every stride: channel c is copied to the plane before
 *           it is written, and output (p, c) lies at p * channels + c, which belongs to channel c.
 */
#include "kernels.h"

static int32_t smallest(int32_t a, int32_t b) { return a < b ? a : b; }

static int32_t plane_height(const triptych_window *w)
{
    return (w->output_height - 1) * w->stride_height + w->kernel_height;
}

static int32_t plane_width(const triptych_window *w)
{
    return (w->output_width - 1) * w->stride_width + w->kernel_width;
}

/* Copies the pixels of one channel inside the plane's border of zero points. */
static void copy_channel(const triptych_depthwise_conv2d_op *op, const int8_t *input, int8_t *plane)
{
    const triptych_window *w = &op->window;
    const int32_t width = plane_width(w);
    const int32_t rows = smallest(w->input_height, plane_height(w) - w->pad_top);
    const int32_t columns = smallest(w->input_width, width - w->pad_left);
    plane += w->pad_top * width + w->pad_left;
    for (int32_t y = 0; y < rows; y++, plane += width, input += w->input_width * op->channels) {
        const int8_t *pixel = input;
        for (int32_t x = 0; x < columns; x++, pixel += op->channels)
            plane[x] = *pixel;
    }
}

/* `kernel_*` are constants where this is inlined, so that the window is unrolled. */
static inline void convolve_plane(const triptych_depthwise_conv2d_op *op, int32_t channel,
                                  const int8_t *plane, int8_t *output, int32_t kernel_height,
                                  int32_t kernel_width)
{
    const triptych_window *w = &op->window;
    const int32_t width = plane_width(w);
    const int8_t *weight = op->weight + channel * kernel_height * kernel_width;
    for (int32_t y = 0; y < w->output_height; y++) {
        const int8_t *corner = plane + y * w->stride_height * width;
        for (int32_t x = 0; x < w->output_width; x++, corner += w->stride_width, output += op->channels) {
            int32_t sum = op->output.bias[channel];
            for (int32_t k = 0; k < kernel_height; k++)
                sum = triptych_dot(sum, corner + k * width, weight + k * kernel_width, kernel_width);
            *output = triptych_finish(&op->output, channel, sum);
        }
    }
}

void triptych_depthwise_conv2d(const triptych_depthwise_conv2d_op *op, const int8_t *input, int8_t *output,
                               int8_t *plane)
{
    const triptych_window *w = &op->window;
    const int32_t size = plane_height(w) * plane_width(w);
    for (int32_t i = 0; i < size; i++)
        plane[i] = (int8_t)op->input_zero_point;
    for (int32_t channel = 0; channel < op->channels; channel++) {
        copy_channel(op, input + channel, plane);
        if (w->kernel_height == 3 && w->kernel_width == 3)
            convolve_plane(op, channel, plane, output + channel, 3, 3);
        else if (w->kernel_height == 5 && w->kernel_width == 5)
            convolve_plane(op, channel, plane, output + channel, 5, 5);
        else
            convolve_plane(op, channel, plane, output + channel, w->kernel_height, w->kernel_width);
    }
}

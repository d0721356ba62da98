/*
 * Depthwise convolution.
 *
 * Scratch   plane: ((output_height - 1) * stride_height + kernel_height)
 *                * ((output_width - 1) * stride_width + kernel_width) bytes, and with weights of 4
 *                bits kernel_height * kernel_width more, for those of one channel
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
                                  const int8_t *plane, const int8_t *weight, int8_t *output,
                                  int32_t kernel_height, int32_t kernel_width)
{
    const triptych_window *w = &op->window;
    const int32_t width = plane_width(w);
    const triptych_channel finish = triptych_channel_of(&op->output, channel);
    const int32_t bias = op->output.bias[channel];
    for (int32_t y = 0; y < w->output_height; y++) {
        const int8_t *corner = plane + y * w->stride_height * width;
        for (int32_t x = 0; x < w->output_width; x++, corner += w->stride_width, output += op->channels) {
            int32_t sum = bias;
            for (int32_t k = 0; k < kernel_height; k++)
                sum = triptych_dot(sum, corner + k * width, weight + k * kernel_width, kernel_width);
            *output = triptych_finish_channel(finish, sum);
        }
    }
}

/*
 * Kernel 3x3, columns one by one: four values of a plane row serve two outputs, the second with the
 * weights moved by one.
 */
static void convolve_plane_3x3(const triptych_depthwise_conv2d_op *op, int32_t channel, const int8_t *plane,
                               const int8_t *weight, int8_t *output)
{
    const triptych_window *w = &op->window;
    const triptych_channel finish = triptych_channel_of(&op->output, channel);
    const int32_t width = plane_width(w), stride = w->stride_height * width, channels = op->channels;
    const int32_t columns = w->output_width, bias = op->output.bias[channel];
    triptych_four first[3], second[3];
    for (int32_t k = 0; k < 3; k++, weight += 3) {
        first[k] = triptych_make_four(weight[0], weight[1], weight[2], 0);
        second[k] = triptych_make_four(0, weight[0], weight[1], weight[2]);
    }
    weight -= 9;
    for (int32_t y = w->output_height; y > 0; y--, plane += stride) {
        const int8_t *corner = plane;
        for (int32_t x = columns; x > 1; x -= 2, corner += 2, output += 2 * channels) {
            int32_t a = bias, b = bias;
            for (int32_t k = 0; k < 3; k++) {
                const triptych_four values = triptych_load_four(corner + k * width);
                a = triptych_dot_four(a, values, first[k]);
                b = triptych_dot_four(b, values, second[k]);
            }
            output[0] = triptych_finish_channel(finish, a);
            output[channels] = triptych_finish_channel(finish, b);
        }
        if (columns % 2) {
            int32_t a = bias;
            for (int32_t k = 0; k < 3; k++)
                a = triptych_dot(a, corner + k * width, weight + k * 3, 3);
            *output = triptych_finish_channel(finish, a);
            output += channels;
        }
    }
}

/* The weights of one channel, one a byte: as they are, or widened to `wide`. */
static const int8_t *weights_of(const triptych_depthwise_conv2d_op *op, int32_t channel, int8_t *wide)
{
    const int32_t taps = op->window.kernel_height * op->window.kernel_width;
    if (!op->int4)
        return op->weight + channel * taps;
    for (int32_t tap = 0; tap < taps; tap++)
        wide[tap] = (int8_t)triptych_int4(op->weight, channel * taps + tap);
    return wide;
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
        const int8_t *weight = weights_of(op, channel, plane + size);
        if (w->kernel_height == 3 && w->kernel_width == 3 && w->stride_width == 1)
            convolve_plane_3x3(op, channel, plane, weight, output + channel);
        else if (w->kernel_height == 3 && w->kernel_width == 3)
            convolve_plane(op, channel, plane, weight, output + channel, 3, 3);
        else if (w->kernel_height == 5 && w->kernel_width == 5)
            convolve_plane(op, channel, plane, weight, output + channel, 5, 5);
        else if (w->kernel_height == 7 && w->kernel_width == 7)
            convolve_plane(op, channel, plane, weight, output + channel, 7, 7);
        else
            convolve_plane(op, channel, plane, weight, output + channel, w->kernel_height, w->kernel_width);
    }
}

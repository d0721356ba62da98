/*
 * Convolution.
 *
 * Scratch  none
 * Overlap  output may run into input as `kernels.h` says: pixels in order, forwards or backwards,
 *          two at a time
 * Two output pixels and two output channels share their loads: with the DSP extension, four taps
 * of the four sums take 20 instructions. Taps outside the image read `padding`, so that the zero
 * point folded into the bias is exact everywhere. Where the number of input channels is a multiple
 * of four, or below four, a kernel row inside the image is one run.
 */
#include "kernels.h"

#define BLOCK TRIPTYCH_CONV2D_BLOCK

typedef struct {
    int32_t a0, a1, b0, b1; /* pixels a and b, channels 0 and 1 */
} sums;

/* Adds runs of `length` taps of two pixels; `weight` as in kernels.h. */
TRIPTYCH_NOINLINE static void dot_block(sums *total, const int8_t *a, const int8_t *b, const int8_t *weight,
                                        int32_t length)
{
    sums s = *total; /* in registers: nothing else is alive here, which is why this is a call */
    for (const int8_t *const end = a + (length & ~3); a < end; a += 4, b += 4, weight += 8) {
        const triptych_four w0 = triptych_load_four(weight), w1 = triptych_load_four(weight + 4);
        const triptych_four va = triptych_load_four(a), vb = triptych_load_four(b);
        s.a0 = triptych_dot_four(s.a0, va, w0);
        s.a1 = triptych_dot_four(s.a1, va, w1);
        s.b0 = triptych_dot_four(s.b0, vb, w0);
        s.b1 = triptych_dot_four(s.b1, vb, w1);
    }
    for (const int8_t *const end = a + (length & 3); a < end; a++, b++, weight += 2) {
        s.a0 += (int32_t)*a * weight[0];
        s.a1 += (int32_t)*a * weight[1];
        s.b0 += (int32_t)*b * weight[0];
        s.b1 += (int32_t)*b * weight[1];
    }
    *total = s;
}

/* Where the window of one output pixel begins in the input; may lie outside. */
typedef struct {
    int32_t y, x;
} corner;

static inline const int8_t *tap(const triptych_conv2d_op *op, const int8_t *input, int32_t y, int32_t x)
{
    const triptych_window *w = &op->window;
    const int inside = y >= 0 && y < w->input_height && x >= 0 && x < w->input_width;
    return inside ? input + (y * w->input_width + x) * op->input_channels : op->padding;
}

/* The same for fewer than four input channels, where whole rows are interleaved. */
TRIPTYCH_NOINLINE static void dot_interleaved(sums *total, const int8_t *a, const int8_t *b,
                                              const int8_t *weight, int32_t length)
{
    sums s = *total;
    for (const int8_t *const end = a + length; a < end; weight += 2) {
        const int32_t va = *a++, vb = *b++;
        s.a0 += va * weight[0];
        s.a1 += va * weight[1];
        s.b0 += vb * weight[0];
        s.b1 += vb * weight[1];
    }
    *total = s;
}

static inline int row_inside(const triptych_window *w, int32_t y, int32_t x)
{
    return y >= 0 && y < w->input_height && x >= 0 && x + w->kernel_width <= w->input_width;
}

static inline void sum_windows(sums *s, const triptych_conv2d_op *op, const int8_t *input, corner a, corner b,
                               const int8_t *weight)
{
    const triptych_window *w = &op->window;
    const int32_t channels = op->input_channels, row = w->kernel_width * channels;
    for (int32_t i = 0; i < w->kernel_height; i++, weight += BLOCK * row) {
        const int32_t ya = a.y + i, yb = b.y + i;
        const int inside = row_inside(w, ya, a.x) && row_inside(w, yb, b.x);
        if (inside && (channels % 4 == 0 || channels < 4)) {
            const int8_t *from_a = tap(op, input, ya, a.x), *from_b = tap(op, input, yb, b.x);
            if (channels < 4)
                dot_interleaved(s, from_a, from_b, weight, row);
            else
                dot_block(s, from_a, from_b, weight, row);
            continue;
        }
        for (int32_t k = 0; k < w->kernel_width; k++)
            dot_block(s, tap(op, input, ya, a.x + k), tap(op, input, yb, b.x + k), weight + BLOCK * k * channels,
                      channels);
    }
}

/* One channel that remains after whole blocks. */
static int32_t sum_window(const triptych_conv2d_op *op, const int8_t *input, corner a, const int8_t *weight)
{
    const triptych_window *w = &op->window;
    int32_t sum = op->output.bias[op->output_channels - 1];
    for (int32_t i = 0; i < w->kernel_height; i++)
        for (int32_t k = 0; k < w->kernel_width; k++, weight += op->input_channels)
            sum = triptych_dot(sum, tap(op, input, a.y + i, a.x + k), weight, op->input_channels);
    return sum;
}

static corner corner_of(const triptych_window *w, int32_t pixel)
{
    const int32_t y = pixel / w->output_width, x = pixel % w->output_width;
    return (corner){y * w->stride_height - w->pad_top, x * w->stride_width - w->pad_left};
}

/* Output pixels `first` and `second`, which may be the same. */
static void two_pixels(const triptych_conv2d_op *op, const int8_t *input, int8_t *output, int32_t first,
                       int32_t second)
{
    const triptych_window *w = &op->window;
    const triptych_output *out = &op->output;
    const corner a = corner_of(w, first), b = corner_of(w, second);
    const int32_t taps = w->kernel_height * w->kernel_width * op->input_channels;
    int8_t *to_a = output + first * op->output_channels, *to_b = output + second * op->output_channels;
    const int8_t *weight = op->weight;
    int32_t channel = 0;
    for (; channel + BLOCK <= op->output_channels; channel += BLOCK, weight += BLOCK * taps) {
        const int32_t bias0 = out->bias[channel], bias1 = out->bias[channel + 1];
        sums s = {bias0, bias1, bias0, bias1};
        if (taps == op->input_channels && !op->padding)
            dot_block(&s, tap(op, input, a.y, a.x), tap(op, input, b.y, b.x), weight, taps);
        else
            sum_windows(&s, op, input, a, b, weight);
        const triptych_channel c0 = triptych_channel_of(out, channel);
        to_a[channel] = triptych_finish_channel(c0, s.a0);
        to_b[channel] = triptych_finish_channel(c0, s.b0);
        const triptych_channel c1 = triptych_channel_of(out, channel + 1);
        to_a[channel + 1] = triptych_finish_channel(c1, s.a1);
        to_b[channel + 1] = triptych_finish_channel(c1, s.b1);
    }
    if (channel < op->output_channels) {
        to_a[channel] = triptych_finish(out, channel, sum_window(op, input, a, weight));
        to_b[channel] = triptych_finish(out, channel, sum_window(op, input, b, weight));
    }
}

void triptych_conv2d(const triptych_conv2d_op *op, const int8_t *input, int8_t *output)
{
    const int32_t pixels = op->window.output_height * op->window.output_width;
    for (int32_t i = 0; i < pixels; i += 2) {
        const int32_t pixel = op->backwards ? pixels - 1 - i : i;
        const int32_t beside = op->backwards ? pixel - 1 : pixel + 1;
        two_pixels(op, input, output, pixel, i + 1 < pixels ? beside : pixel);
    }
}

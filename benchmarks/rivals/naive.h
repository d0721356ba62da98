/* Reference loops, always inlined: every size is a constant where they are called. */
#ifndef NAIVE_H
#define NAIVE_H

#include "rivals.h"

#define NAIVE static inline __attribute__((always_inline)) void

NAIVE naive_conv2d(const rival_shape *s, const rival_constants *c, const int8_t *input, int8_t *output)
{
    for (int32_t y = 0; y < s->output_height; y++)
        for (int32_t x = 0; x < s->output_width; x++)
            for (int32_t o = 0; o < s->output_channels; o++) {
                int32_t sum = c->bias[o];
                for (int32_t i = 0; i < s->kernel_height; i++)
                    for (int32_t j = 0; j < s->kernel_width; j++) {
                        const int32_t row = y * s->stride_height - s->pad_top + i;
                        const int32_t column = x * s->stride_width - s->pad_left + j;
                        if (row < 0 || row >= s->input_height || column < 0 || column >= s->input_width)
                            continue;
                        const int8_t *pixel = input + (row * s->input_width + column) * s->input_channels;
                        const int8_t *weight =
                            c->weight + ((o * s->kernel_height + i) * s->kernel_width + j) * s->input_channels;
                        for (int32_t k = 0; k < s->input_channels; k++)
                            sum += weight[k] * (pixel[k] - s->input_zero_point);
                    }
                *output++ = rival_finish(s, c, o, sum);
            }
}

NAIVE naive_depthwise(const rival_shape *s, const rival_constants *c, const int8_t *input, int8_t *output)
{
    for (int32_t y = 0; y < s->output_height; y++)
        for (int32_t x = 0; x < s->output_width; x++)
            for (int32_t o = 0; o < s->output_channels; o++) {
                int32_t sum = c->bias[o];
                for (int32_t i = 0; i < s->kernel_height; i++)
                    for (int32_t j = 0; j < s->kernel_width; j++) {
                        const int32_t row = y * s->stride_height - s->pad_top + i;
                        const int32_t column = x * s->stride_width - s->pad_left + j;
                        if (row < 0 || row >= s->input_height || column < 0 || column >= s->input_width)
                            continue;
                        sum += c->weight[(i * s->kernel_width + j) * s->output_channels + o]
                               * (input[(row * s->input_width + column) * s->output_channels + o]
                                  - s->input_zero_point);
                    }
                *output++ = rival_finish(s, c, o, sum);
            }
}

NAIVE naive_fully_connected(const rival_shape *s, const rival_constants *c, const int8_t *input, int8_t *output)
{
    for (int32_t o = 0; o < s->output_channels; o++) {
        int32_t sum = c->bias[o];
        for (int32_t k = 0; k < s->input_channels; k++)
            sum += c->weight[o * s->input_channels + k] * (input[k] - s->input_zero_point);
        const int32_t value = rival_requantize_once(sum, c->multiplier[o], c->shift[o]);
        output[o] = (int8_t)rival_clamp(value + s->output_zero_point, s->low, s->high);
    }
}

NAIVE naive_add(const rival_sum *s, const int8_t *first, const int8_t *second, int8_t *output)
{
    for (int32_t i = 0; i < s->size; i++) {
        const int32_t a = rival_requantize((first[i] - s->zero_point[0]) * (1 << 20), s->multiplier[0], s->shift[0]);
        const int32_t b = rival_requantize((second[i] - s->zero_point[1]) * (1 << 20), s->multiplier[1], s->shift[1]);
        const int32_t sum = rival_requantize(a + b, s->output_multiplier, s->output_shift);
        output[i] = (int8_t)rival_clamp(sum + s->output_zero_point, s->low, s->high);
    }
}

#endif

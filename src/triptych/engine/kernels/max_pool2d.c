/*
 * Maximum over windows; a window at the border takes what lies inside the image. Input and output
 * share one quantization.
 *
 * Scratch  none
 * Overlap  output may run into input, forwards, pixel by pixel
 */
#include "kernels.h"

static int32_t largest(int32_t a, int32_t b) { return a > b ? a : b; }
static int32_t smallest(int32_t a, int32_t b) { return a < b ? a : b; }

/* A window of one pixel: an activation on its own. */
static void clamp_all(const triptych_max_pool2d_op *op, const int8_t *input, int8_t *output)
{
    const int32_t low = op->low, high = op->high;
    const int8_t *const end = input + op->window.input_height * op->window.input_width * op->channels;
    while (input < end) {
        const int32_t value = largest(*input++, low);
        *output++ = (int8_t)smallest(value, high);
    }
}

void triptych_max_pool2d(const triptych_max_pool2d_op *op, const int8_t *input, int8_t *output)
{
    const triptych_window *w = &op->window;
    if (w->kernel_height * w->kernel_width * w->stride_height * w->stride_width == 1) {
        clamp_all(op, input, output);
        return;
    }
    for (int32_t y = 0; y < w->output_height; y++)
        for (int32_t x = 0; x < w->output_width; x++) {
            const int32_t corner_y = y * w->stride_height - w->pad_top;
            const int32_t corner_x = x * w->stride_width - w->pad_left;
            const int32_t top = largest(corner_y, 0), left = largest(corner_x, 0);
            const int32_t bottom = smallest(corner_y + w->kernel_height, w->input_height);
            const int32_t right = smallest(corner_x + w->kernel_width, w->input_width);
            for (int32_t channel = 0; channel < op->channels; channel++) {
                int32_t most = op->low;
                for (int32_t i = top; i < bottom; i++)
                    for (int32_t j = left; j < right; j++)
                        most = largest(most, input[(i * w->input_width + j) * op->channels + channel]);
                *output++ = (int8_t)smallest(most, op->high);
            }
        }
}

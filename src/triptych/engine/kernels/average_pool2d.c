/*
 * Average over windows; a window at the border averages what lies inside the image. Rounds half
 * away from zero. Input and output share one quantization.
 *
 * Scratch  none
 * Overlap  output may run into input, forwards, pixel by pixel
 */
#include "kernels.h"

static int32_t largest(int32_t a, int32_t b) { return a > b ? a : b; }
static int32_t smallest(int32_t a, int32_t b) { return a < b ? a : b; }

void triptych_average_pool2d(const triptych_average_pool2d_op *op, const int8_t *input, int8_t *output)
{
    const triptych_window *w = &op->window;
    for (int32_t y = 0; y < w->output_height; y++)
        for (int32_t x = 0; x < w->output_width; x++) {
            const int32_t corner_y = y * w->stride_height - w->pad_top;
            const int32_t corner_x = x * w->stride_width - w->pad_left;
            const int32_t top = largest(corner_y, 0), left = largest(corner_x, 0);
            const int32_t bottom = smallest(corner_y + w->kernel_height, w->input_height);
            const int32_t right = smallest(corner_x + w->kernel_width, w->input_width);
            const int32_t count = (bottom - top) * (right - left);
            for (int32_t channel = 0; channel < op->channels; channel++) {
                int32_t sum = 0;
                for (int32_t i = top; i < bottom; i++)
                    for (int32_t j = left; j < right; j++)
                        sum += input[(i * w->input_width + j) * op->channels + channel];
                const int32_t mean = sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
                *output++ = triptych_clamp(mean, 0, op->low, op->high);
            }
        }
}

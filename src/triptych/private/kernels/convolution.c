/* Convolutions of many discriminators, each with weights of its own: the images of a batch are the lanes.
 *
 * x        [members, height, width, inputs, batch]
 * y, g     [members, rows, columns, outputs, batch], the output and a gradient of it
 * weight   [members, kernel, kernel, inputs, outputs]
 *
 * batch is a multiple of 16; padding is the same on all sides and with zeros. A tap is one place of the
 * kernel. Each function reads and writes members `first` to `last` alone, so threads may share the members
 * out, and a member's numbers are the same whoever computes it.
 */
#include <stddef.h>

typedef float lanes __attribute__((vector_size(64), aligned(4)));
enum { LANES = 16, ROWS = 8, SIDE = 4 };
#define INLINE static inline __attribute__((always_inline))

typedef struct {
    size_t batch, height, width, inputs, rows, columns, outputs, kernel, stride, padding;
} convolution;

typedef struct {
    size_t from, to;
} range;

INLINE size_t least(size_t a, size_t b) { return a < b ? a : b; }

/* The taps that place `at` of the output sees inside an input of this size. */
INLINE range taps_of(size_t at, size_t size, const convolution *s)
{
    const size_t start = at * s->stride; /* of the padded input */
    const range r = {s->padding > start ? s->padding - start : 0, least(s->kernel, size + s->padding - start)};
    return r;
}

/* Sums of `count` products: sum[i][v] += weight[n][i] * x[n][v], n counted in steps. */
INLINE void add_products(lanes sum[ROWS][2], const float *x, size_t x_step, const float *weight, size_t row,
                         size_t step, size_t count, size_t rows, size_t vectors)
{
    for (size_t n = 0; n < count; ++n, x += x_step, weight += step)
        for (size_t i = 0; i < rows; ++i)
            for (size_t v = 0; v < vectors; ++v)
                sum[i][v] += weight[i * row] * *(const lanes *)(x + v * LANES);
}

/* `rows` output channels from `channel`, one place, `vectors` * 16 images. */
INLINE void convolve_block(const float *x, const float *weight, const float *bias, float *y,
                           const convolution *s, size_t row, size_t column, size_t rows, size_t vectors)
{
    lanes sum[ROWS][2];
    const range down = taps_of(row, s->height, s), right = taps_of(column, s->width, s);
    for (size_t i = 0; i < rows; ++i)
        for (size_t v = 0; v < vectors; ++v)
            sum[i][v] = (lanes){0} + (bias ? bias[i] : 0);
    for (size_t i = down.from; i < down.to; ++i) {
        const size_t above = row * s->stride + i - s->padding, left = column * s->stride + right.from - s->padding;
        add_products(sum, x + (above * s->width + left) * s->inputs * s->batch, s->batch,
                     weight + (i * s->kernel + right.from) * s->inputs * s->outputs, 1, s->outputs,
                     (right.to - right.from) * s->inputs, rows, vectors);
    }
    for (size_t i = 0; i < rows; ++i)
        for (size_t v = 0; v < vectors; ++v)
            *(lanes *)(y + i * s->batch + v * LANES) = sum[i][v];
}

/* `rows` input channels, one place of the input: what all outputs that see it say. */
INLINE void spread_block(const float *g, const float *weight, float *x, const convolution *s, size_t row,
                         size_t column, size_t rows, size_t vectors)
{
    lanes sum[ROWS][2];
    for (size_t i = 0; i < rows; ++i)
        for (size_t v = 0; v < vectors; ++v)
            sum[i][v] = (lanes){0};
    for (size_t i = (row + s->padding) % s->stride; i < s->kernel && i <= row + s->padding; i += s->stride) {
        const size_t above = (row + s->padding - i) / s->stride;
        if (above >= s->rows)
            continue;
        for (size_t j = (column + s->padding) % s->stride; j < s->kernel && j <= column + s->padding;
             j += s->stride) {
            const size_t left = (column + s->padding - j) / s->stride;
            if (left >= s->columns)
                continue;
            add_products(sum, g + (above * s->columns + left) * s->outputs * s->batch, s->batch,
                         weight + (i * s->kernel + j) * s->inputs * s->outputs, s->outputs, 1, s->outputs, rows,
                         vectors);
        }
    }
    for (size_t i = 0; i < rows; ++i)
        for (size_t v = 0; v < vectors; ++v)
            *(lanes *)(x + i * s->batch + v * LANES) = sum[i][v];
}

/* One tap of `ins` times `outs` weights: sums over places and images. */
INLINE void correlate_block(const float *x, const float *g, float *weight, const convolution *s, size_t tap_row,
                            size_t tap_column, size_t ins, size_t outs)
{
    lanes sum[SIDE][ROWS];
    for (size_t i = 0; i < ins; ++i)
        for (size_t o = 0; o < outs; ++o)
            sum[i][o] = (lanes){0};
    for (size_t row = 0; row < s->rows; ++row) {
        const size_t down = row * s->stride + tap_row;
        if (down < s->padding || down >= s->height + s->padding)
            continue;
        for (size_t column = 0; column < s->columns; ++column) {
            const size_t right = column * s->stride + tap_column;
            if (right < s->padding || right >= s->width + s->padding)
                continue;
            const float *from = x + ((down - s->padding) * s->width + right - s->padding) * s->inputs * s->batch;
            const float *slope = g + (row * s->columns + column) * s->outputs * s->batch;
            for (size_t v = 0; v < s->batch; v += LANES)
                for (size_t i = 0; i < ins; ++i)
                    for (size_t o = 0; o < outs; ++o)
                        sum[i][o] += *(const lanes *)(from + i * s->batch + v) *
                                     *(const lanes *)(slope + o * s->batch + v);
        }
    }
    for (size_t i = 0; i < ins; ++i)
        for (size_t o = 0; o < outs; ++o) {
            float total = 0;
            for (size_t lane = 0; lane < LANES; ++lane)
                total += sum[i][o][lane];
            weight[i * s->outputs + o] = total;
        }
}

void convolve(const float *x, const float *weight, const float *bias, float *y, const convolution *s, size_t first,
              size_t last)
{
    const size_t image = s->height * s->width * s->inputs * s->batch, out = s->outputs * s->batch;
    for (size_t m = first; m < last; ++m)
        for (size_t place = 0; place < s->rows * s->columns; ++place)
            for (size_t b = 0; b < s->batch; b += s->batch - b < 2 * LANES ? LANES : 2 * LANES) {
#define CALL(at, n)                                                                                          \
    const float *w = weight + m * s->kernel * s->kernel * s->inputs * s->outputs + at;                       \
    const float *offset = bias ? bias + m * s->outputs + at : NULL;                                          \
    float *to = y + (m * s->rows * s->columns + place) * out + at * s->batch + b;                            \
    if (s->batch - b < 2 * LANES)                                                                            \
        convolve_block(x + m * image + b, w, offset, to, s, place / s->columns, place % s->columns, n, 1);   \
    else                                                                                                     \
        convolve_block(x + m * image + b, w, offset, to, s, place / s->columns, place % s->columns, n, 2)
                for (size_t at = 0; at < s->outputs;) {
                    if (s->outputs - at < ROWS) {
                        CALL(at, 1);
                        at += 1;
                    } else {
                        CALL(at, ROWS);
                        at += ROWS;
                    }
                }
#undef CALL
            }
}

void spread(const float *g, const float *weight, float *x, const convolution *s, size_t first, size_t last)
{
    const size_t slopes = s->rows * s->columns * s->outputs * s->batch, in = s->inputs * s->batch;
    for (size_t m = first; m < last; ++m)
        for (size_t place = 0; place < s->height * s->width; ++place)
            for (size_t b = 0; b < s->batch; b += s->batch - b < 2 * LANES ? LANES : 2 * LANES) {
#define CALL(at, n)                                                                                          \
    const float *w = weight + (m * s->kernel * s->kernel * s->inputs + at) * s->outputs;                     \
    float *to = x + (m * s->height * s->width + place) * in + at * s->batch + b;                             \
    if (s->batch - b < 2 * LANES)                                                                            \
        spread_block(g + m * slopes + b, w, to, s, place / s->width, place % s->width, n, 1);                \
    else                                                                                                     \
        spread_block(g + m * slopes + b, w, to, s, place / s->width, place % s->width, n, 2)
                for (size_t at = 0; at < s->inputs;) {
                    if (s->inputs - at < ROWS) {
                        CALL(at, 1);
                        at += 1;
                    } else {
                        CALL(at, ROWS);
                        at += ROWS;
                    }
                }
#undef CALL
            }
}

void correlate(const float *x, const float *g, float *weight, const convolution *s, size_t first, size_t last)
{
    const size_t image = s->height * s->width * s->inputs * s->batch, taps = s->kernel * s->kernel;
    const size_t slopes = s->rows * s->columns * s->outputs * s->batch;
    for (size_t m = first; m < last; ++m)
        for (size_t tap = 0; tap < taps; ++tap)
            for (size_t in = 0; in < s->inputs; in += s->inputs - in < SIDE ? 1 : SIDE)
                for (size_t out = 0; out < s->outputs; out += s->outputs - out < SIDE ? 1 : SIDE) {
                    const float *from = x + m * image + in * s->batch, *slope = g + m * slopes + out * s->batch;
                    float *to = weight + ((m * taps + tap) * s->inputs + in) * s->outputs + out;
                    const size_t row = tap / s->kernel, column = tap % s->kernel;
                    const int wide = s->inputs - in >= SIDE, high = s->outputs - out >= SIDE;
                    if (wide && high)
                        correlate_block(from, slope, to, s, row, column, SIDE, SIDE);
                    else if (wide)
                        correlate_block(from, slope, to, s, row, column, SIDE, 1);
                    else if (high)
                        correlate_block(from, slope, to, s, row, column, 1, SIDE);
                    else
                        correlate_block(from, slope, to, s, row, column, 1, 1);
                }
}

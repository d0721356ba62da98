/* One function an operator, for all shapes; the DSP extension by hand. */
#include "rivals.h"

static inline uint32_t word(const void *p)
{
    uint32_t value;
    __builtin_memcpy(&value, p, 4);
    return value;
}

static inline void store(void *p, uint32_t value) { __builtin_memcpy(p, &value, 4); }

static inline int32_t smlad(uint32_t a, uint32_t b, int32_t sum)
{
    int32_t result;
    __asm("smlad %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}

static inline uint32_t even(uint32_t bytes)
{
    uint32_t result;
    __asm("sxtb16 %0, %1" : "=r"(result) : "r"(bytes));
    return result;
}

static inline uint32_t odd(uint32_t bytes)
{
    uint32_t result;
    __asm("sxtb16 %0, %1, ror #8" : "=r"(result) : "r"(bytes));
    return result;
}

static inline uint32_t add_pairs(uint32_t a, uint32_t b)
{
    uint32_t result;
    __asm("sadd16 %0, %1, %2" : "=r"(result) : "r"(a), "r"(b));
    return result;
}

/* Low halves, and high halves, of two words. */
static inline uint32_t low_halves(uint32_t a, uint32_t b)
{
    uint32_t result;
    __asm("pkhbt %0, %1, %2, lsl #16" : "=r"(result) : "r"(a), "r"(b));
    return result;
}

static inline uint32_t high_halves(uint32_t a, uint32_t b)
{
    uint32_t result;
    __asm("pkhtb %0, %2, %1, asr #16" : "=r"(result) : "r"(a), "r"(b));
    return result;
}

typedef struct {
    uint32_t first, second; /* values 0 and 1, values 2 and 3 */
} four;

static inline four four_of(const int8_t *p)
{
    const uint32_t bytes = word(p), e = even(bytes), o = odd(bytes);
    return (four){low_halves(e, o), high_halves(e, o)};
}

/*
 * int8 to int16, minus the zero point, each run of four as 0, 2, 1, 3: what SXTB16 gives without more work.
 * Weights are taken apart the same way.
 */
static __attribute__((noinline)) int16_t *widen_pairs(int16_t *to, const int8_t *from, int32_t count,
                                                      int32_t zero_point)
{
    const uint32_t pair = ((uint32_t)-zero_point & 0xFFFFu) * 0x10001u;
    int32_t i = count >> 2;
    for (; i > 0; i--, from += 4, to += 4) {
        const uint32_t bytes = word(from);
        store(to, add_pairs(even(bytes), pair));
        store(to + 2, add_pairs(odd(bytes), pair));
    }
    for (i = count & 3; i > 0; i--)
        *to++ = (int16_t)(*from++ - zero_point);
    return to;
}

/* The same in order, where runs of four would cross pixels. */
static __attribute__((noinline)) int16_t *widen(int16_t *to, const int8_t *from, int32_t count, int32_t zero_point)
{
    for (; count > 0; count--)
        *to++ = (int16_t)(*from++ - zero_point);
    return to;
}

static int16_t *zeros(int16_t *to, int32_t count)
{
    for (; count > 0; count--)
        *to++ = 0;
    return to;
}

/* The window of one output pixel as a column [kernel_height][kernel_width][channels]. */
static __attribute__((noinline)) int16_t *column_of(const rival_shape *s, const int8_t *input, int32_t y, int32_t x,
                                                    int16_t *column, int pairs)
{
    const int32_t channels = s->input_channels;
    for (int32_t i = 0; i < s->kernel_height; i++)
        for (int32_t j = 0; j < s->kernel_width; j++) {
            const int32_t row = y * s->stride_height - s->pad_top + i;
            const int32_t at = x * s->stride_width - s->pad_left + j;
            if (row < 0 || row >= s->input_height || at < 0 || at >= s->input_width)
                column = zeros(column, channels);
            else {
                const int8_t *pixel = input + (row * s->input_width + at) * channels;
                column = pairs ? widen_pairs(column, pixel, channels, s->input_zero_point)
                               : widen(column, pixel, channels, s->input_zero_point);
            }
        }
    return column;
}

typedef struct {
    int32_t a0, a1, b0, b1; /* columns a and b, channels 0 and 1 */
} sums;

static inline __attribute__((always_inline)) four weights_of(const int8_t *p, int pairs)
{
    const uint32_t bytes = word(p);
    return pairs ? (four){even(bytes), odd(bytes)} : four_of(p);
}

static inline __attribute__((always_inline)) sums dot_two(sums s, const int16_t *a, int32_t taps, const int8_t *w0,
                                                          int pairs)
{
    const int16_t *b = a + taps;
    const int8_t *w1 = w0 + taps;
    for (const int16_t *const end = a + (taps & ~3); a < end; a += 4, b += 4, w0 += 4, w1 += 4) {
        const four v0 = weights_of(w0, pairs), v1 = weights_of(w1, pairs);
        uint32_t values = word(a);
        s.a0 = smlad(v0.first, values, s.a0);
        s.a1 = smlad(v1.first, values, s.a1);
        values = word(a + 2);
        s.a0 = smlad(v0.second, values, s.a0);
        s.a1 = smlad(v1.second, values, s.a1);
        values = word(b);
        s.b0 = smlad(v0.first, values, s.b0);
        s.b1 = smlad(v1.first, values, s.b1);
        values = word(b + 2);
        s.b0 = smlad(v0.second, values, s.b0);
        s.b1 = smlad(v1.second, values, s.b1);
    }
    for (int32_t k = taps & 3; k > 0; k--, a++, b++, w0++, w1++) {
        s.a0 += *w0 * *a;
        s.a1 += *w1 * *a;
        s.b0 += *w0 * *b;
        s.b1 += *w1 * *b;
    }
    return s;
}

static __attribute__((noinline)) void dot_pairs(sums *s, const int16_t *a, int32_t taps, const int8_t *weight)
{
    *s = dot_two(*s, a, taps, weight, 1);
}

static __attribute__((noinline)) void dot_in_order(sums *s, const int16_t *a, int32_t taps, const int8_t *weight)
{
    *s = dot_two(*s, a, taps, weight, 0);
}

/* Two columns by all output channels, two at a time. */
static void two_columns(const rival_shape *s, const rival_constants *c, const int16_t *columns, int32_t taps,
                        int8_t *output, int pairs)
{
    const int32_t out = s->output_channels;
    const int8_t *weight = c->weight;
    int32_t o = 0;
    for (; o + 2 <= out; o += 2, weight += 2 * taps) {
        sums sum = {c->bias[o], c->bias[o + 1], c->bias[o], c->bias[o + 1]};
        if (pairs)
            dot_pairs(&sum, columns, taps, weight);
        else
            dot_in_order(&sum, columns, taps, weight);
        output[o] = rival_finish(s, c, o, sum.a0);
        output[o + 1] = rival_finish(s, c, o + 1, sum.a1);
        output[out + o] = rival_finish(s, c, o, sum.b0);
        output[out + o + 1] = rival_finish(s, c, o + 1, sum.b1);
    }
    if (o < out) {
        sums sum = {c->bias[o], 0, c->bias[o], 0};
        for (int32_t k = 0; k < taps; k++) {
            const int32_t at = pairs ? (k & ~3) + ((k & 1) << 1) + ((k >> 1) & 1) : k;
            sum.a0 += weight[k] * columns[at];
            sum.b0 += weight[k] * columns[taps + at];
        }
        output[o] = rival_finish(s, c, o, sum.a0);
        output[out + o] = rival_finish(s, c, o, sum.b0);
    }
}

static void one_column(const rival_shape *s, const rival_constants *c, const int16_t *column, int32_t taps,
                       int8_t *output, int pairs)
{
    const int8_t *weight = c->weight;
    for (int32_t o = 0; o < s->output_channels; o++) {
        const int16_t *a = column;
        int32_t sum = c->bias[o], k = taps >> 2;
        for (; k > 0; k--, a += 4, weight += 4) {
            const four w = weights_of(weight, pairs);
            sum = smlad(w.first, word(a), sum);
            sum = smlad(w.second, word(a + 2), sum);
        }
        for (k = taps & 3; k > 0; k--)
            sum += *weight++ * *a++;
        output[o] = rival_finish(s, c, o, sum);
    }
}

void library_conv2d(const rival_shape *s, const rival_constants *c, const int8_t *input, int8_t *output,
                    int16_t *columns)
{
    const int32_t taps = s->kernel_height * s->kernel_width * s->input_channels;
    const int pairs = s->input_channels % 4 == 0;
    int16_t *at = columns;
    int32_t filled = 0;
    for (int32_t y = 0; y < s->output_height; y++)
        for (int32_t x = 0; x < s->output_width; x++) {
            at = column_of(s, input, y, x, at, pairs);
            if (++filled < 2)
                continue;
            two_columns(s, c, columns, taps, output, pairs);
            output += 2 * s->output_channels;
            at = columns;
            filled = 0;
        }
    if (filled)
        one_column(s, c, columns, taps, output, pairs);
}

static inline int32_t bottoms(uint32_t a, uint32_t b, int32_t sum)
{
    int32_t result;
    __asm("smlabb %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}

static inline int32_t tops(uint32_t a, uint32_t b, int32_t sum)
{
    int32_t result;
    __asm("smlatt %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}

/* value + addend, of bytes 0 and 2, and 1 and 3 */
static inline uint32_t even_plus(uint32_t addend, uint32_t bytes)
{
    uint32_t result;
    __asm("sxtab16 %0, %1, %2" : "=r"(result) : "r"(addend), "r"(bytes));
    return result;
}

static inline uint32_t odd_plus(uint32_t addend, uint32_t bytes)
{
    uint32_t result;
    __asm("sxtab16 %0, %1, %2, ror #8" : "=r"(result) : "r"(addend), "r"(bytes));
    return result;
}

/* The part of a window inside the image, and the distances between rows of the input and of the weights. */
typedef struct {
    int32_t first_row, rows, first_column, columns, input_row, weight_row;
} part;

/* Four channels at once: s[0] to s[3]. */
static __attribute__((noinline)) void dot_channels(int32_t *s, const int8_t *a, const int8_t *weight, int32_t channels,
                                                   const part *p, uint32_t offset)
{
    int32_t s0 = s[0], s1 = s[1], s2 = s[2], s3 = s[3];
    for (int32_t rows = p->rows; rows > 0; rows--) {
        for (int32_t taps = p->columns; taps > 0; taps--, a += channels, weight += channels) {
            uint32_t bytes = word(weight);
            const uint32_t w02 = even(bytes), w13 = odd(bytes);
            bytes = word(a);
            const uint32_t a02 = even_plus(offset, bytes), a13 = odd_plus(offset, bytes);
            s0 = bottoms(a02, w02, s0);
            s2 = tops(a02, w02, s2);
            s1 = bottoms(a13, w13, s1);
            s3 = tops(a13, w13, s3);
        }
        a += p->input_row - p->columns * channels;
        weight += p->weight_row - p->columns * channels;
    }
    s[0] = s0;
    s[1] = s1;
    s[2] = s2;
    s[3] = s3;
}

/* Four sums of one pixel, four channels: everything in registers but the channels' own factors. */
static __attribute__((noinline)) void finish_four(const rival_shape *s, const rival_constants *c, int32_t channel,
                                                  const int32_t *sum, int8_t *output)
{
    const int32_t *multiplier = c->multiplier + channel;
    const int8_t *shift = c->shift + channel;
    const int32_t zero_point = s->output_zero_point, low = s->low, high = s->high;
    for (const int8_t *const end = output + 4; output < end;)
        *output++ = (int8_t)rival_clamp(rival_requantize(*sum++, *multiplier++, *shift++) + zero_point, low, high);
}

static void depthwise_pixel(const rival_shape *s, const rival_constants *c, const int8_t *corner, const part *p,
                            int8_t *output)
{
    const int32_t channels = s->output_channels, zero_point = s->input_zero_point;
    const uint32_t offset = ((uint32_t)-zero_point & 0xFFFFu) * 0x10001u;
    const int8_t *first = c->weight + (p->first_row * s->kernel_width + p->first_column) * channels;
    int32_t o = 0;
    for (; o + 4 <= channels; o += 4) {
        int32_t sum[4] = {c->bias[o], c->bias[o + 1], c->bias[o + 2], c->bias[o + 3]};
        dot_channels(sum, corner + o, first + o, channels, p, offset);
        finish_four(s, c, o, sum, output + o);
    }
    for (; o < channels; o++) {
        int32_t sum = c->bias[o];
        for (int32_t i = 0; i < p->rows; i++)
            for (int32_t j = 0; j < p->columns; j++)
                sum += first[i * p->weight_row + j * channels + o] * (corner[i * p->input_row + j * channels + o] - zero_point);
        output[o] = rival_finish(s, c, o, sum);
    }
}

static int32_t larger(int32_t a, int32_t b) { return a > b ? a : b; }
static int32_t smaller(int32_t a, int32_t b) { return a < b ? a : b; }

void library_depthwise(const rival_shape *s, const rival_constants *c, const int8_t *input, int8_t *output)
{
    for (int32_t y = 0; y < s->output_height; y++)
        for (int32_t x = 0; x < s->output_width; x++, output += s->output_channels) {
            const int32_t top = y * s->stride_height - s->pad_top, left = x * s->stride_width - s->pad_left;
            const int32_t row = larger(top, 0), column = larger(left, 0);
            const part inside = {row - top, smaller(top + s->kernel_height, s->input_height) - row, column - left,
                                 smaller(left + s->kernel_width, s->input_width) - column,
                                 s->input_width * s->output_channels, s->kernel_width * s->output_channels};
            depthwise_pixel(s, c, input + (row * s->input_width + column) * s->output_channels, &inside, output);
        }
}

void library_fully_connected(const rival_shape *s, const rival_constants *c, const int8_t *input, int8_t *output)
{
    const uint32_t offset = ((uint32_t)-s->input_zero_point & 0xFFFFu) * 0x10001u;
    const int8_t *weight = c->weight;
    for (int32_t o = 0; o < s->output_channels; o++) {
        const int8_t *a = input;
        int32_t sum = c->bias[o], k = s->input_channels >> 2;
        for (; k > 0; k--, a += 4, weight += 4) {
            const uint32_t values = word(a), weights = word(weight);
            sum = smlad(add_pairs(even(values), offset), even(weights), sum);
            sum = smlad(add_pairs(odd(values), offset), odd(weights), sum);
        }
        for (k = s->input_channels & 3; k > 0; k--)
            sum += *weight++ * (*a++ - s->input_zero_point);
        const int32_t value = rival_requantize_once(sum, c->multiplier[o], c->shift[o]);
        output[o] = (int8_t)rival_clamp(value + s->output_zero_point, s->low, s->high);
    }
}

void library_add(const rival_sum *s, const int8_t *first, const int8_t *second, int8_t *output)
{
    for (int32_t i = 0; i < s->size; i++) {
        const int32_t a = rival_requantize((first[i] - s->zero_point[0]) * (1 << 20), s->multiplier[0], s->shift[0]);
        const int32_t b = rival_requantize((second[i] - s->zero_point[1]) * (1 << 20), s->multiplier[1], s->shift[1]);
        const int32_t sum = rival_requantize(a + b, s->output_multiplier, s->output_shift);
        output[i] = (int8_t)rival_clamp(sum + s->output_zero_point, s->low, s->high);
    }
}

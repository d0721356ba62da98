/* A 1x1 convolution, batch normalization in training and ReLU6 in one pass, channels last, and their gradient.
 *
 * x, slope   [rows, inputs]: input and its gradient; slope is written
 * out, g     [rows, outputs]: output, and its gradient
 * weight     [outputs, inputs]; to_weight, its gradient, is written
 * gain, bias [outputs]
 * moments    [2, outputs]: mean, and one over the standard deviation, of what the convolution gives
 * gram       [inputs + 1, inputs]: sums of x's products, and of x
 * gradients  [2, outputs], written: of gain and bias
 * scratch    for expand (inputs + 1) * outputs floats and inputs doubles; for its gradient, with larger the larger
 *            of both, 2 * inputs * outputs + (inputs + CHUNK + 3) * larger doubles
 *
 * inputs and outputs are multiples of 8. What the convolution gives is never in memory: it is linear in x, so
 * that gram tells its moments, and everything that normalization's gradient takes from it.
 */
#include <stddef.h>

typedef float lanes __attribute__((vector_size(32), aligned(4)));
typedef double doubles __attribute__((vector_size(64), aligned(8)));
enum { LANES = 8, TALL = 8, WIDE = 2, CHUNK = 256 };
#define INLINE static inline __attribute__((always_inline))
#define UNROLL _Pragma("clang loop unroll(full)")

/* a[i][p] is a[i * down + p * along]; b is [depth, columns]; c is [height, columns]. */
typedef struct {
    size_t height, depth, columns, down, along;
} product_shape;

/* `tall` rows and `wide` vectors of c = first + a b, within 0 and 6 where it `clamps`. */
INLINE void tile(const float *a, const float *b, const float *first, float *c, const product_shape *s, size_t tall,
                 size_t wide, int clamps)
{
    lanes sum[TALL][WIDE];
    UNROLL
    for (size_t i = 0; i < tall; ++i)
        UNROLL
        for (size_t j = 0; j < wide; ++j)
            sum[i][j] = first ? *(const lanes *)(first + j * LANES) : (lanes){0};
    for (size_t p = 0; p < s->depth; ++p)
        UNROLL
        for (size_t i = 0; i < tall; ++i)
            UNROLL
            for (size_t j = 0; j < wide; ++j)
                sum[i][j] += a[i * s->down + p * s->along] * *(const lanes *)(b + p * s->columns + j * LANES);
    UNROLL
    for (size_t i = 0; i < tall; ++i)
        UNROLL
        for (size_t j = 0; j < wide; ++j) {
            UNROLL
            for (size_t lane = 0; clamps && lane < LANES; ++lane) {
                const float value = sum[i][j][lane], above = value < 0 ? 0 : value;
                sum[i][j][lane] = above > 6 ? 6 : above;
            }
            *(lanes *)(c + i * s->columns + j * LANES) = sum[i][j];
        }
}

INLINE void columns_of(const float *a, const float *b, const float *first, float *c, const product_shape *s,
                       size_t tall, int clamps)
{
    size_t j = 0;
    for (; j + WIDE * LANES <= s->columns; j += WIDE * LANES)
        tile(a, b + j, first ? first + j : first, c + j, s, tall, WIDE, clamps);
    for (; j < s->columns; j += LANES)
        tile(a, b + j, first ? first + j : first, c + j, s, tall, 1, clamps);
}

INLINE void product(const float *a, const float *b, const float *first, float *c, product_shape s, int clamps)
{
    size_t i = 0;
    for (; i + TALL <= s.height; i += TALL)
        columns_of(a + i * s.down, b, first, c + i * s.columns, &s, TALL, clamps);
    for (; i < s.height; ++i)
        columns_of(a + i * s.down, b, first, c + i * s.columns, &s, 1, clamps);
}

/* 8 rows and columns of gram; and sums, where they are asked for. */
INLINE void square(const float *left, const float *right, double *gram, double *sums, size_t rows, size_t inputs)
{
    doubles sum[LANES] = {{0}}, total = {0};
    for (size_t row = 0; row < rows; ++row) {
        const doubles values = __builtin_convertvector(*(const lanes *)(right + row * inputs), doubles);
        total += values;
        UNROLL
        for (size_t i = 0; i < LANES; ++i)
            sum[i] += (double)left[row * inputs + i] * values;
    }
    for (size_t i = 0; i < LANES; ++i)
        *(doubles *)(gram + i * inputs) = sum[i];
    if (sums)
        *(doubles *)sums = total;
}

/* gram of x, in double: the variance of a channel may be a small difference of large products. */
static void sum_products(const float *x, double *gram, size_t rows, size_t inputs)
{
    for (size_t i = 0; i < inputs; i += LANES)
        for (size_t j = i; j < inputs; j += LANES)
            square(x + i, x + j, gram + i * inputs + j, i == 0 ? gram + inputs * inputs + j : NULL, rows, inputs);
    for (size_t i = 0; i < inputs; ++i)
        for (size_t j = 0; j < i / LANES * LANES; ++j)
            gram[i * inputs + j] = gram[j * inputs + i];
}

/* mixed[j] = the sum over rows of what the convolution gives for one channel times x[j]. */
static void mix(const float *weight, const double *gram, double *mixed, size_t inputs)
{
    for (size_t j = 0; j < inputs; ++j)
        mixed[j] = 0;
    for (size_t i = 0; i < inputs; ++i)
        for (size_t j = 0; j < inputs; ++j)
            mixed[j] += (double)weight[i] * gram[i * inputs + j];
}

static double dot(const float *weight, const double *values, size_t size)
{
    double sum = 0;
    for (size_t i = 0; i < size; ++i)
        sum += (double)weight[i] * values[i];
    return sum;
}

void expand(const float *x, const float *weight, const float *gain, const float *bias, float *out, float *moments,
            double *gram, double *scratch, size_t rows, size_t inputs, size_t outputs, double epsilon)
{
    double *mixed = scratch;
    float *turned = (float *)(mixed + inputs), *offset = turned + inputs * outputs; /* [inputs, outputs] */
    sum_products(x, gram, rows, inputs);
    for (size_t n = 0; n < outputs; ++n) {
        const float *own = weight + n * inputs;
        mix(own, gram, mixed, inputs);
        const double mean = dot(own, gram + inputs * inputs, inputs) / (double)rows;
        const double square = dot(own, mixed, inputs) / (double)rows;
        const double variance = square > mean * mean ? square - mean * mean : 0;
        moments[n] = (float)mean;
        moments[outputs + n] = (float)(1 / __builtin_sqrt(variance + epsilon));
        const float factor = gain[n] * moments[outputs + n];
        offset[n] = bias[n] - moments[n] * factor;
        for (size_t i = 0; i < inputs; ++i)
            turned[i * outputs + n] = own[i] * factor;
    }
    product(x, turned, offset, out, (product_shape){rows, inputs, outputs, inputs, 1}, 1);
}

/* Where ReLU6 let it through, g; and its sums, of float over the rows of a chunk. */
static void pass(const float *restrict out, const float *restrict g, float *restrict passed, float *restrict sums,
                 size_t rows, size_t outputs)
{
    for (size_t n = 0; n < outputs; ++n)
        sums[n] = 0;
    for (size_t row = 0; row < rows; ++row)
        for (size_t n = 0; n < outputs; ++n) {
            const size_t at = row * outputs + n;
            passed[at] = ((out[at] > 0) & (out[at] < 6)) ? g[at] : 0;
            sums[n] += passed[at];
        }
}

static void add(double *restrict totals, const float *restrict parts, size_t size)
{
    for (size_t i = 0; i < size; ++i)
        totals[i] += (double)parts[i];
}

void expand_gradient(const float *x, const float *weight, const float *gain, const float *moments, const double *gram,
                     const float *out, const float *g, float *slope, float *to_weight, float *gradients,
                     double *scratch, size_t rows, size_t inputs, size_t outputs)
{
    const size_t taps = inputs * outputs;
    double *totals = scratch, *sums = totals + taps, *mixed = sums + outputs; /* totals: of passed times x */
    float *scaled = (float *)(mixed + inputs), *square = scaled + taps, *part = square + inputs * inputs;
    float *offset = part + taps, *passed = offset + inputs; /* CHUNK rows of inputs or outputs */
    for (size_t i = 0; i < taps + outputs; ++i)
        totals[i] = 0;
    for (size_t n = 0; n < outputs; ++n)
        for (size_t i = 0; i < inputs; ++i)
            scaled[n * inputs + i] = gain[n] * moments[outputs + n] * weight[n * inputs + i];
    for (size_t start = 0; start < rows; start += CHUNK) {
        const size_t size = rows - start < CHUNK ? rows - start : CHUNK;
        const float *from = x + start * inputs;
        pass(out + start * outputs, g + start * outputs, passed, part, size, outputs);
        add(sums, part, outputs);
        product(passed, from, NULL, part, (product_shape){outputs, size, inputs, 1, outputs}, 0);
        add(totals, part, taps);
        product(passed, scaled, NULL, slope + start * inputs, (product_shape){size, outputs, inputs, outputs, 1}, 0);
    }
    /* Normalization takes from passed its mean and its part along what the convolution gave. */
    for (size_t i = 0; i < inputs; ++i)
        offset[i] = 0;
    for (size_t i = 0; i < inputs * inputs; ++i)
        square[i] = 0;
    for (size_t n = 0; n < outputs; ++n) {
        const float *own = weight + n * inputs;
        const double mean = (double)moments[n], scale = (double)moments[outputs + n];
        const double along = dot(own, totals + n * inputs, inputs) - mean * sums[n];
        const double tilt = along * scale * scale / (double)rows, shift = sums[n] / (double)rows - mean * tilt;
        const double factor = (double)gain[n] * scale;
        gradients[n] = (float)(along * scale);
        gradients[outputs + n] = (float)sums[n];
        mix(own, gram, mixed, inputs);
        for (size_t i = 0; i < inputs; ++i) {
            const double taken = shift * gram[inputs * inputs + i] + tilt * mixed[i];
            to_weight[n * inputs + i] = (float)(factor * (totals[n * inputs + i] - taken));
            offset[i] -= (float)(factor * shift) * own[i];
            for (size_t j = 0; j < inputs; ++j)
                square[i * inputs + j] -= (float)(factor * tilt) * own[i] * own[j];
        }
    }
    for (size_t start = 0; start < rows; start += CHUNK) {
        const size_t size = rows - start < CHUNK ? rows - start : CHUNK;
        float *to = slope + start * inputs;
        product(x + start * inputs, square, offset, passed, (product_shape){size, inputs, inputs, inputs, 1}, 0);
        for (size_t i = 0; i < size * inputs; ++i)
            to[i] += passed[i];
    }
}

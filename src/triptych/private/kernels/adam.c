/* The two passes of Adam (Kingma, Ba 2015, arXiv:1412.6980, Algorithm 1) over memory; between them, a root.
 *
 * Elements `first` to `last` are changed. Operations are in the order of torch.optim.Adam and rounded like
 * its own, so that training goes on as with it.
 */
#include <stddef.h>

#pragma STDC FP_CONTRACT OFF

enum { LANES = 16 };
typedef float lanes __attribute__((vector_size(64), aligned(4)));
#define INLINE static inline __attribute__((always_inline))

typedef struct {
    float weigh_mean, keep_square, weigh_square, correct, epsilon, rate;
} adam_constants;

INLINE void average(const lanes *gradient, lanes *mean, lanes *square, const adam_constants *c)
{
    const lanes g = *gradient, apart = g - *mean, zero = {0};
    if (c->weigh_mean < 0.5F)
        *mean = __builtin_elementwise_fma(zero + c->weigh_mean, apart, *mean);
    else
        *mean = __builtin_elementwise_fma(zero + (c->weigh_mean - 1), apart, g);
    *square = __builtin_elementwise_fma(c->weigh_square * g, g, *square * c->keep_square);
}

INLINE void move(const lanes *root, lanes *mean, lanes *weight, const adam_constants *c)
{
    *weight += -c->rate * *mean / (*root / c->correct + c->epsilon);
}

/* `step` on 16 elements at a time; the last ones in vectors of their own. */
#define SWEEP(step)                                                                                          \
    size_t i = first;                                                                                        \
    for (; i + LANES <= last; i += LANES)                                                                    \
        step((const lanes *)(a + i), (lanes *)(b + i), (lanes *)(d + i), c);                                 \
    lanes rest[3] = {{0}, {0}, {0}};                                                                         \
    for (size_t j = i; j < last; ++j) {                                                                      \
        rest[0][j - i] = a[j];                                                                               \
        rest[1][j - i] = b[j];                                                                               \
        rest[2][j - i] = d[j];                                                                               \
    }                                                                                                        \
    step(&rest[0], &rest[1], &rest[2], c);                                                                   \
    for (size_t j = i; j < last; ++j) {                                                                      \
        b[j] = rest[1][j - i];                                                                               \
        d[j] = rest[2][j - i];                                                                               \
    }

/* a: gradient, b: mean, d: square. */
void adam_average(const float *a, float *b, float *d, const adam_constants *c, size_t first, size_t last)
{
    SWEEP(average)
}

/* a: root of the square, b: mean, d: weight. */
void adam_move(const float *a, float *b, float *d, const adam_constants *c, size_t first, size_t last)
{
    SWEEP(move)
}

/*
 * Four int8 values at once: the DSP extension of Cortex-M where the compiler targets it, else plain
 * C. -DTRIPTYCH_PORTABLE forces plain C. Sums wrap nowhere (the generator proves it), so that both
 * agree in every bit.
 */
#ifndef TRIPTYCH_DSP_H
#define TRIPTYCH_DSP_H

#include <stdint.h>

#if defined(__GNUC__)
#define TRIPTYCH_NOINLINE __attribute__((noinline))
#else
#define TRIPTYCH_NOINLINE
#endif

/*
 * Where the generated functions of model.S are called: the same condition stands there.
 * -DTRIPTYCH_C_KERNELS takes the C kernels, with the DSP extension.
 */
#if defined(__ARM_FEATURE_DSP) && defined(__thumb2__) && !defined(__ARM_BIG_ENDIAN) && \
    !defined(TRIPTYCH_PORTABLE) && !defined(TRIPTYCH_C_KERNELS) &&                            \
    (!defined(TRIPTYCH_ROUND_ONCE) || defined(__ARM_FP))
#define TRIPTYCH_THUMB
#endif

/* A layer as generated code; `scratch` needs no alignment, and is the other summand of a sum. */
typedef void triptych_generated(const int8_t *input, int8_t *output, int8_t *scratch, const uint32_t *stream);

#if defined(__ARM_FEATURE_DSP) && !defined(__ARM_BIG_ENDIAN) && !defined(TRIPTYCH_PORTABLE)

typedef struct {
    uint32_t even, odd; /* int16 pairs: values 0 and 2, values 1 and 3 */
} triptych_four;

/* `p` needs no alignment: LDR takes any on ARMv7-M */
static inline triptych_four triptych_load_four(const int8_t *p)
{
    triptych_four four;
    uint32_t bytes;
    __builtin_memcpy(&bytes, p, 4);
    __asm("sxtb16 %0, %1" : "=r"(four.even) : "r"(bytes));
    __asm("sxtb16 %0, %1, ror #8" : "=r"(four.odd) : "r"(bytes));
    return four;
}

static inline triptych_four triptych_make_four(int32_t v0, int32_t v1, int32_t v2, int32_t v3)
{
    return (triptych_four){((uint32_t)v2 << 16) | ((uint32_t)v0 & 0xFFFFu),
                           ((uint32_t)v3 << 16) | ((uint32_t)v1 & 0xFFFFu)};
}

static inline int32_t triptych_multiply_pairs(int32_t sum, uint32_t a, uint32_t b)
{
    int32_t result;
    __asm("smlad %0, %1, %2, %3" : "=r"(result) : "r"(a), "r"(b), "r"(sum));
    return result;
}

/* sum + a . b */
static inline int32_t triptych_dot_four(int32_t sum, triptych_four a, triptych_four b)
{
    sum = triptych_multiply_pairs(sum, a.even, b.even);
    return triptych_multiply_pairs(sum, a.odd, b.odd);
}

#else

typedef struct {
    int32_t v0, v1, v2, v3;
} triptych_four;

static inline triptych_four triptych_load_four(const int8_t *p)
{
    return (triptych_four){p[0], p[1], p[2], p[3]};
}

static inline triptych_four triptych_make_four(int32_t v0, int32_t v1, int32_t v2, int32_t v3)
{
    return (triptych_four){v0, v1, v2, v3};
}

/* sum + a . b */
static inline int32_t triptych_dot_four(int32_t sum, triptych_four a, triptych_four b)
{
    return sum + a.v0 * b.v0 + a.v1 * b.v1 + a.v2 * b.v2 + a.v3 * b.v3;
}

#endif

#endif

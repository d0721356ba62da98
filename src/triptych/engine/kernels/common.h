/*
 * Shifts and clamps that every arithmetic has. Right shifts of negative numbers are written portably.
 */
#ifndef TRIPTYCH_COMMON_H
#define TRIPTYCH_COMMON_H

#include <stdint.h>

/* floor(value / 2^bits) */
static inline int32_t triptych_shift_right(int32_t value, int32_t bits)
{
    return value < 0 ? ~(~value >> bits) : value >> bits;
}

/* floor(value / 2^bits) */
static inline int64_t triptych_shift_right_long(int64_t value, int32_t bits)
{
    return value < 0 ? ~(~value >> bits) : value >> bits;
}

/* value + zero_point, clamped to [low, high] without overflow */
static inline int8_t triptych_clamp(int32_t value, int32_t zero_point, int32_t low, int32_t high)
{
    value = value < low - zero_point ? low - zero_point : value;
    value = value > high - zero_point ? high - zero_point : value;
    return (int8_t)(value + zero_point);
}

#endif

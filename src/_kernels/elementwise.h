/* One formula for each elementwise function, in float32 with explicit fused multiply-adds:
 * the same bits from every instruction set and from scalar code. Branch-free, so that loops
 * over columns vectorize. Not-a-number goes in and comes out, but for dg_log.
 */
#ifndef DEEPGEN_ELEMENTWISE_H
#define DEEPGEN_ELEMENTWISE_H

#include <math.h>
#include <stdint.h>
#include <string.h>

#define DG_INLINE static inline __attribute__((always_inline))
#define DG_FMA __builtin_fmaf

DG_INLINE int32_t dg_bits(float x)
{
    int32_t bits;
    memcpy(&bits, &x, sizeof bits);
    return bits;
}

DG_INLINE float dg_from_bits(int32_t bits)
{
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

DG_INLINE float dg_clamp(float x, float low, float high)
{
    x = x < low ? low : x;
    return x > high ? high : x;
}

/* exp(x) for x clamped to [-87, 88]; relative error below 2e-7 (Cephes expf polynomial).
 *
 *     exp(x) = 2^n exp(r),    n = x / log 2 to the nearest integer,    |r| <= log(2) / 2
 *
 * log 2 is taken away as the sum of two floats: n times the first one is exact. */
DG_INLINE float dg_exp(float x)
{
    const float round = 12582912.0f; /* 1.5 * 2^23: adding it rounds to an integer */
    x = dg_clamp(x, -87.0f, 88.0f);
    float shifted = DG_FMA(x, 1.44269504088896341f, round);
    float n = shifted - round;
    float r = DG_FMA(n, -0.693359375f, x);
    r = DG_FMA(n, 2.12194440e-4f, r);
    float p = 1.9875691500e-4f;
    p = DG_FMA(p, r, 1.3981999507e-3f);
    p = DG_FMA(p, r, 8.3334519073e-3f);
    p = DG_FMA(p, r, 4.1665795894e-2f);
    p = DG_FMA(p, r, 1.6666665459e-1f);
    p = DG_FMA(p, r, 5.0000001201e-1f);
    p = DG_FMA(p, r * r, r) + 1.0f;
    uint32_t exponent = (uint32_t)(dg_bits(shifted) - 0x4B400000 + 127);
    return p * dg_from_bits((int32_t)(exponent << 23));
}

/* log(x) for positive normal x, and nothing else; relative error below 2e-7 (Cephes logf
 * polynomial).
 *
 *     log(x) = e log 2 + log(1 + m),    1 + m in [sqrt(1/2), sqrt(2)),    log 2 in two parts */
DG_INLINE float dg_log(float x)
{
    int32_t bits = dg_bits(x);
    int32_t e = (bits - 0x3F3504F3) >> 23; /* mantissa in [sqrt(1/2), sqrt(2)) */
    float m = dg_from_bits((int32_t)((uint32_t)bits - ((uint32_t)e << 23))) - 1.0f;
    float n = (float)e, z = m * m;
    float p = 7.0376836292e-2f;
    p = DG_FMA(p, m, -1.1514610310e-1f);
    p = DG_FMA(p, m, 1.1676998740e-1f);
    p = DG_FMA(p, m, -1.2420140846e-1f);
    p = DG_FMA(p, m, 1.4249322787e-1f);
    p = DG_FMA(p, m, -1.6668057665e-1f);
    p = DG_FMA(p, m, 2.0000714765e-1f);
    p = DG_FMA(p, m, -2.4999993993e-1f);
    p = DG_FMA(p, m, 3.3333331174e-1f);
    p = p * m * z;
    p = DG_FMA(n, -2.12194440e-4f, p);
    p = DG_FMA(z, -0.5f, p);
    return DG_FMA(n, 0.693359375f, m + p);
}

/* 1 / (1 + exp(-x)) for x clamped from below to -87.3365, where it is the smallest normal float. */
DG_INLINE float dg_logistic(float x)
{
    return 1.0f / (1.0f + dg_exp(x < -87.3365f ? 87.3365f : -x));
}

/* log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|)); log1p by the correction of its rounded sum. */
DG_INLINE float dg_softplus(float x)
{
    float z = dg_exp(-fabsf(x)), u = 1.0f + z;
    float tail = dg_log(u) + (z - (u - 1.0f)) / u;
    return (x > 0.0f ? x : 0.0f) + tail;
}

/* Two independent normal draws from two uniforms (Box and Muller 1958):
 *
 *     sqrt(-2 log u) (cos(2 pi v), sin(2 pi v))
 *
 * The turn 4 v is cut into the nearest quarter and what is left, t in [-pi/4, pi/4], whose sine and
 * cosine are polynomials (Cephes); the quarter says which is which, and the signs. */
DG_INLINE void dg_normal_pair(float u, float v, float *first, float *second)
{
    const float round = 12582912.0f;
    float radius = sqrtf(-2.0f * dg_log(u));
    float shifted = DG_FMA(v, 4.0f, round);
    float quarter = shifted - round;
    int32_t quadrant = dg_bits(shifted);
    float t = DG_FMA(v, 4.0f, -quarter) * 1.57079632679489662f; /* |t| <= pi / 4 */
    float z = t * t;
    float s = -1.9515295891e-4f;
    s = DG_FMA(s, z, 8.3321608736e-3f);
    s = DG_FMA(s, z, -1.6666654611e-1f);
    s = DG_FMA(s * z, t, t);
    float c = 2.443315711809948e-5f;
    c = DG_FMA(c, z, -1.388731625493765e-3f);
    c = DG_FMA(c, z, 4.166664568298827e-2f);
    c = DG_FMA(c * z, z, DG_FMA(z, -0.5f, 1.0f));
    float cosine = quadrant & 1 ? s : c, sine = quadrant & 1 ? c : s;
    cosine = (quadrant + 1) & 2 ? -cosine : cosine;
    sine = quadrant & 2 ? -sine : sine;
    *first = radius * cosine;
    *second = radius * sine;
}

/* float64 twins of the exact paths: no speed asked for, so libm serves. */
DG_INLINE double dg_softplus64(double x)
{
    return (x > 0.0 ? x : 0.0) + log1p(exp(-fabs(x)));
}

#endif

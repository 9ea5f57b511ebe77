/* Plain C build of the tile operations: the reference that the others equal, bit for bit.
 * Where the compiler knows no fused multiply-add, fmaf of libm gives the same rounding, slowly. */
#include "units.h"

typedef struct {
    float lane[8];
} dg_vec8;

static inline dg_vec8 dg_load8(const float *p)
{
    dg_vec8 v;
    for (int i = 0; i < 8; i++)
        v.lane[i] = p[i];
    return v;
}

static inline void dg_store8(float *p, dg_vec8 v)
{
    for (int i = 0; i < 8; i++)
        p[i] = v.lane[i];
}

static inline dg_vec8 dg_set8(float x)
{
    dg_vec8 v;
    for (int i = 0; i < 8; i++)
        v.lane[i] = x;
    return v;
}

static inline dg_vec8 dg_fma8(dg_vec8 a, dg_vec8 b, dg_vec8 c)
{
    for (int i = 0; i < 8; i++)
        c.lane[i] = __builtin_fmaf(a.lane[i], b.lane[i], c.lane[i]);
    return c;
}

static inline dg_vec8 dg_mul8(dg_vec8 a, dg_vec8 b)
{
    for (int i = 0; i < 8; i++)
        a.lane[i] = a.lane[i] * b.lane[i];
    return a;
}

static inline dg_vec8 dg_sub8(dg_vec8 a, dg_vec8 b)
{
    for (int i = 0; i < 8; i++)
        a.lane[i] = a.lane[i] - b.lane[i];
    return a;
}

typedef struct {
    int32_t lane[8];
} dg_bits8;

static inline dg_bits8 dg_most8(dg_bits8 most, dg_vec8 v)
{
    for (int i = 0; i < 8; i++) {
        int32_t bits = dg_bits(v.lane[i]) & 0x7FFFFFFF;
        most.lane[i] = bits > most.lane[i] ? bits : most.lane[i];
    }
    return most;
}

static inline void dg_store_bits8(int32_t *p, dg_bits8 most)
{
    for (int i = 0; i < 8; i++)
        p[i] = most.lane[i];
}

static inline void dg_transpose8(const float *from, ptrdiff_t stride, float *to)
{
    for (int i = 0; i < 8; i++)
        for (int k = 0; k < 8; k++)
            to[k * DG_TILE + i] = from[i * stride + k];
}

#define VEC dg_vec8
#define LANES 8
#define LOAD dg_load8
#define STORE dg_store8
#define SET1 dg_set8
#define FMA dg_fma8
#define MUL dg_mul8
#define SUB dg_sub8
#define BITS dg_bits8
#define NO_BITS ((dg_bits8){{0}})
#define MOST_BITS dg_most8
#define STORE_BITS dg_store_bits8
#define MICRO_ROWS 2
#define MICRO_VECS 2
#define TRANSPOSE dg_transpose8
#define FIXED dg_fixed_generic
#define BACKEND dg_backend_generic
#define BACKEND_NAME "generic"
#include "tile_body.h"

/* Plain C build of the passes over ratings: the reference that the others equal, bit for bit. */
#include "ratings.h"

typedef struct {
    float lane[16];
} dg_vec16;

static inline dg_vec16 dg_load16(const float *p)
{
    dg_vec16 v;
    for (int i = 0; i < 16; i++)
        v.lane[i] = p[i];
    return v;
}

static inline void dg_store16(float *p, dg_vec16 v)
{
    for (int i = 0; i < 16; i++)
        p[i] = v.lane[i];
}

static inline dg_vec16 dg_set16(float x)
{
    dg_vec16 v;
    for (int i = 0; i < 16; i++)
        v.lane[i] = x;
    return v;
}

static inline dg_vec16 dg_add16(dg_vec16 a, dg_vec16 b)
{
    for (int i = 0; i < 16; i++)
        a.lane[i] += b.lane[i];
    return a;
}

static inline dg_vec16 dg_fma16(dg_vec16 a, dg_vec16 b, dg_vec16 c)
{
    for (int i = 0; i < 16; i++)
        c.lane[i] = __builtin_fmaf(a.lane[i], b.lane[i], c.lane[i]);
    return c;
}

static inline float dg_total16(const dg_vec16 *v)
{
    float x[16];
    dg_store16(x, *v);
    for (int half = 8; half; half /= 2)
        for (int i = 0; i < half; i++)
            x[i] += x[i + half];
    return x[0];
}

#define VEC dg_vec16
#define LANES 16
#define LOAD dg_load16
#define STORE dg_store16
#define SET1 dg_set16
#define ADD dg_add16
#define FMA dg_fma16
#define TOTAL dg_total16
#define OPS dg_ratings_generic
#include "ratings_body.h"

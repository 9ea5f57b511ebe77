/* AVX-512 build of the tile operations: a row of a tile is two vectors. */
#ifdef __x86_64__
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512")
#include <immintrin.h>

#define DG_WIDE_BYTES 64
#define DG_MUL32(lanes, constant) \
    (dg_wide)_mm512_mul_epu32((__m512i)(lanes), _mm512_set1_epi64(constant))
#include "units.h"

/* 16 x 16 block: pairs, quads, then 128-bit lanes twice */
static inline void transpose16(const float *from, ptrdiff_t stride, float *to)
{
    __m512 r[16], t[16];
    for (int i = 0; i < 16; i++)
        r[i] = _mm512_loadu_ps(from + i * stride);
    for (int i = 0; i < 16; i += 2) {
        t[i] = _mm512_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm512_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 16; i += 4) {
        r[i] = _mm512_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm512_shuffle_ps(t[i], t[i + 2], 0xEE);
        r[i + 2] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm512_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
    }
    for (int half = 0; half < 16; half += 8)
        for (int i = 0; i < 4; i++) {
            t[half + i] = _mm512_shuffle_f32x4(r[half + i], r[half + i + 4], 0x88);
            t[half + i + 4] = _mm512_shuffle_f32x4(r[half + i], r[half + i + 4], 0xDD);
        }
    for (int i = 0; i < 4; i++) {
        r[i] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0x88);
        r[i + 8] = _mm512_shuffle_f32x4(t[i], t[i + 8], 0xDD);
        r[i + 4] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0x88);
        r[i + 12] = _mm512_shuffle_f32x4(t[i + 4], t[i + 12], 0xDD);
    }
    for (int i = 0; i < 16; i++)
        _mm512_storeu_ps(to + i * DG_TILE, r[i]);
}

#define VEC __m512
#define LANES 16
#define LOAD _mm512_loadu_ps
#define STORE _mm512_storeu_ps
#define SET1 _mm512_set1_ps
#define FMA _mm512_fmadd_ps
#define MUL _mm512_mul_ps
#define SUB _mm512_sub_ps
#define BITS __m512i
#define NO_BITS _mm512_setzero_si512()
#define MOST_BITS(most, v) \
    _mm512_max_epi32(most, _mm512_and_si512(_mm512_castps_si512(v), _mm512_set1_epi32(0x7FFFFFFF)))
#define STORE_BITS(p, most) _mm512_storeu_si512(p, most)
#define MICRO_ROWS 12
#define MICRO_VECS 2
#define TRANSPOSE transpose16
#define FIXED dg_fixed_avx2
#define BACKEND dg_backend_avx512
#define BACKEND_NAME "avx512"
#include "tile_body.h"

#ifndef DG_NO_VNNI
const struct dg_backend dg_backend_vnni = DG_BACKEND("vnni", &dg_fixed_vnni);
#endif
#ifndef DG_NO_AMX
const struct dg_backend dg_backend_amx = DG_BACKEND("amx", &dg_fixed_amx);
#endif
#endif

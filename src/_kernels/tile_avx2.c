/* AVX2 build of the tile operations: a row of a tile is four vectors, two at a time. */
#ifdef __x86_64__
#pragma GCC target("avx2,fma")
#include <immintrin.h>

#define DG_WIDE_BYTES 32
#define DG_MUL32(lanes, constant) \
    (dg_wide)_mm256_mul_epu32((__m256i)(lanes), _mm256_set1_epi64x(constant))
#include "units.h"

/* 8 x 8 block: pairs, quads, then 128-bit lanes */
static inline void transpose8(const float *from, ptrdiff_t stride, float *to)
{
    __m256 r[8], t[8];
    for (int i = 0; i < 8; i++)
        r[i] = _mm256_loadu_ps(from + i * stride);
    for (int i = 0; i < 8; i += 2) {
        t[i] = _mm256_unpacklo_ps(r[i], r[i + 1]);
        t[i + 1] = _mm256_unpackhi_ps(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_shuffle_ps(t[i], t[i + 2], 0x44);
        r[i + 1] = _mm256_shuffle_ps(t[i], t[i + 2], 0xEE);
        r[i + 2] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0x44);
        r[i + 3] = _mm256_shuffle_ps(t[i + 1], t[i + 3], 0xEE);
    }
    for (int i = 0; i < 4; i++) {
        _mm256_storeu_ps(to + i * DG_TILE, _mm256_permute2f128_ps(r[i], r[i + 4], 0x20));
        _mm256_storeu_ps(to + (i + 4) * DG_TILE, _mm256_permute2f128_ps(r[i], r[i + 4], 0x31));
    }
}

#define VEC __m256
#define LANES 8
#define LOAD _mm256_loadu_ps
#define STORE _mm256_storeu_ps
#define SET1 _mm256_set1_ps
#define FMA _mm256_fmadd_ps
#define MUL _mm256_mul_ps
#define SUB _mm256_sub_ps
#define BITS __m256i
#define NO_BITS _mm256_setzero_si256()
#define MOST_BITS(most, v) \
    _mm256_max_epi32(most, _mm256_and_si256(_mm256_castps_si256(v), _mm256_set1_epi32(0x7FFFFFFF)))
#define STORE_BITS(p, most) _mm256_storeu_si256((__m256i *)(p), most)
#define MICRO_ROWS 5
#define MICRO_VECS 2
#define TRANSPOSE transpose8
#define FIXED dg_fixed_avx2
#define BACKEND dg_backend_avx2
#define BACKEND_NAME "avx2"
#include "tile_body.h"
#endif

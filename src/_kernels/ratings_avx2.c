/* AVX2 build of the passes over ratings: a group of lanes is two vectors. */
#ifdef __x86_64__
#pragma GCC target("avx2,fma")
#include <immintrin.h>

#define DG_WIDE_BYTES 32
#define DG_MUL32(lanes, constant) \
    (dg_wide)_mm256_mul_epu32((__m256i)(lanes), _mm256_set1_epi64x(constant))
#include "ratings.h"

static inline float dg_total(const __m256 *v)
{
    __m256 x = _mm256_add_ps(v[0], v[1]);
    __m128 y = _mm_add_ps(_mm256_castps256_ps128(x), _mm256_extractf128_ps(x, 1));
    y = _mm_add_ps(y, _mm_movehl_ps(y, y));
    return _mm_cvtss_f32(_mm_add_ss(y, _mm_movehdup_ps(y)));
}

#define VEC __m256
#define LANES 8
#define LOAD _mm256_loadu_ps
#define STORE _mm256_storeu_ps
#define SET1 _mm256_set1_ps
#define ADD _mm256_add_ps
#define FMA _mm256_fmadd_ps
#define TOTAL dg_total
#define OPS dg_ratings_avx2
#include "ratings_body.h"
#endif

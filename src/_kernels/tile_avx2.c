/* AVX2 build of the tile operations: a row of a tile is four vectors, two at a time. */
#ifdef __x86_64__
#pragma GCC target("avx2,fma")
#include <immintrin.h>

#define VEC __m256
#define LANES 8
#define LOAD _mm256_loadu_ps
#define STORE _mm256_storeu_ps
#define SET1 _mm256_set1_ps
#define FMA _mm256_fmadd_ps
#define MICRO_ROWS 6
#define MICRO_VECS 2
#define LIST_ROWS 2
#define BACKEND dg_backend_avx2
#define BACKEND_NAME "avx2"
#include "tile_body.h"
#endif

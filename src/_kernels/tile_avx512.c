/* AVX-512 build of the tile operations: a row of a tile is two vectors. */
#ifdef __x86_64__
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,prefer-vector-width=512")
#include <immintrin.h>

#define VEC __m512
#define LANES 16
#define LOAD _mm512_loadu_ps
#define STORE _mm512_storeu_ps
#define SET1 _mm512_set1_ps
#define FMA _mm512_fmadd_ps
#define MICRO_ROWS 12
#define MICRO_VECS 2
#define LIST_ROWS 4
#define BACKEND dg_backend_avx512
#define BACKEND_NAME "avx512"
#include "tile_body.h"
#endif

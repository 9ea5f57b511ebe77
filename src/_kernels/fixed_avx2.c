/* AVX2: the 16-bit multiply-add takes two inputs of eight columns at once. */
#ifdef __x86_64__
#pragma GCC target("avx2")
#include <immintrin.h>
#include <string.h>

#include "fixed_pack.h"

#define LANES 8
#define VECTORS (DG_TILE / LANES)
#define STRIP 192      /* words whose weights, half a tile wide, stay in the first-level cache */
#define MICRO_ROWS 4
#define MICRO_VECTORS 2

static void pack(const float *lines, ptrdiff_t stride, float inverse, ptrdiff_t plane,
                 uint32_t *words)
{
    (void)plane;
    dg_pack_pairs(lines, stride, inverse, words);
}

static inline __m256i load(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

static inline __m256i meet(uint32_t states, const uint32_t *numbers)
{
    return _mm256_madd_epi16(_mm256_set1_epi32((int)states), load(numbers));
}

/* One row over the words that it has: four independent sums. */
static void along_list(const uint32_t *words, const int32_t *index, ptrdiff_t n,
                       const uint32_t *tile, int32_t *acc)
{
    __m256i sum[VECTORS];
    for (int v = 0; v < VECTORS; v++)
        sum[v] = _mm256_setzero_si256();
    for (ptrdiff_t e = 0; e < n; e++) {
        const uint32_t *numbers = tile + (ptrdiff_t)index[e] * DG_TILE;
        uint32_t states = words[index[e]];
        for (int v = 0; v < VECTORS; v++)
            sum[v] = _mm256_add_epi32(sum[v], meet(states, numbers + v * LANES));
    }
    for (int v = 0; v < VECTORS; v++)
        _mm256_storeu_si256((__m256i *)(acc + v * LANES), sum[v]);
}

/* acc[r, 0:16] += words[r, :] . tile[:, 0:16]; n_rows is a constant of the caller */
static inline __attribute__((always_inline)) void micro(const uint32_t *words, ptrdiff_t stride,
                                                        ptrdiff_t n_words, const uint32_t *tile,
                                                        int32_t *acc, const int n_rows)
{
    __m256i sum[MICRO_ROWS][MICRO_VECTORS];
    for (int r = 0; r < n_rows; r++)
        for (int v = 0; v < MICRO_VECTORS; v++)
            sum[r][v] = load(acc + r * DG_TILE + v * LANES);
    for (ptrdiff_t w = 0; w < n_words; w++) {
        __m256i numbers[MICRO_VECTORS];
        for (int v = 0; v < MICRO_VECTORS; v++)
            numbers[v] = load(tile + w * DG_TILE + v * LANES);
        for (int r = 0; r < n_rows; r++) {
            __m256i states = _mm256_set1_epi32((int)words[r * stride + w]);
            for (int v = 0; v < MICRO_VECTORS; v++)
                sum[r][v] =
                    _mm256_add_epi32(sum[r][v], _mm256_madd_epi16(states, numbers[v]));
        }
    }
    for (int r = 0; r < n_rows; r++)
        for (int v = 0; v < MICRO_VECTORS; v++)
            _mm256_storeu_si256((__m256i *)(acc + r * DG_TILE + v * LANES), sum[r][v]);
}

static void dense(const uint32_t *words, ptrdiff_t stride, ptrdiff_t n_rows,
                  const uint32_t *tile, int32_t *acc)
{
    memset(acc, 0, (size_t)(n_rows * DG_TILE) * sizeof *acc);
    for (ptrdiff_t w = 0; w < stride; w += STRIP) {
        ptrdiff_t n = dg_min(STRIP, stride - w);
        for (int c = 0; c < DG_TILE; c += MICRO_VECTORS * LANES) {
            const uint32_t *numbers = tile + w * DG_TILE + c;
            ptrdiff_t r = 0;
            for (; r + MICRO_ROWS <= n_rows; r += MICRO_ROWS)
                micro(words + r * stride + w, stride, n, numbers, acc + r * DG_TILE + c,
                      MICRO_ROWS);
            for (; r < n_rows; r++)
                micro(words + r * stride + w, stride, n, numbers, acc + r * DG_TILE + c, 1);
        }
    }
}

static void product(const struct dg_inputs *inputs, ptrdiff_t first, ptrdiff_t n_rows,
                    const uint32_t *tile, int32_t *acc)
{
    ptrdiff_t n_words = inputs->n_words;
    if (!inputs->index) {
        dense(inputs->words + first * n_words, n_words, n_rows, tile, acc);
        return;
    }
    for (ptrdiff_t r = 0; r < n_rows; r++)
        along_list(inputs->words + (first + r) * n_words, inputs->index + (first + r) * n_words,
                   inputs->length[first + r], tile, acc + r * DG_TILE);
}

const struct dg_fixed dg_fixed_avx2 = {DG_PAIRS, 0.70f, pack, product};
#endif

/* AVX2: the 16-bit multiply-add takes two inputs of eight columns at once. */
#ifdef __x86_64__
#pragma GCC target("avx2")
#include <immintrin.h>
#include <string.h>

#define DG_TURN_LANES 4
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

static void turn(const uint32_t *from, uint32_t *to)
{
    dg_turn_pairs(from, to);
}

static inline __m256i load(const void *p)
{
    return _mm256_loadu_si256((const __m256i *)p);
}

/* What the two states of a word send to LANES columns. */
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

/* acc = words . tile for DG_TILE columns, all words of each row: strip by strip, in a strip half a
 * tile at a time over all rows. */
static void dense(const uint32_t *words, ptrdiff_t stride, ptrdiff_t n_words, ptrdiff_t n_rows,
                  const uint32_t *tile, int32_t *acc)
{
    memset(acc, 0, (size_t)(n_rows * DG_TILE) * sizeof *acc);
    for (ptrdiff_t w = 0; w < n_words; w += STRIP) {
        ptrdiff_t n = dg_min(STRIP, n_words - w);
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

/* Tables of what four neighbouring inputs send, for each of their 16 states. */
#define TABLES 12     /* that are in use together: 24 KB, most of the first-level cache */
#define TABLE_ROWS 16 /* so many rows pay for them */

/* table[s] = sum of the numbers whose bit is set in s, for DG_TILE columns */
static inline void fill_table(const uint32_t *numbers, int32_t table[16][DG_TILE])
{
    for (int v = 0; v < DG_TILE; v += LANES) {
        __m256i one[4], sum[16];
        for (int w = 0; w < 2; w++) { /* a word holds two numbers */
            __m256i pair = load(numbers + w * DG_TILE + v);
            one[2 * w] = _mm256_srai_epi32(_mm256_slli_epi32(pair, 16), 16);
            one[2 * w + 1] = _mm256_srai_epi32(pair, 16);
        }
        sum[0] = _mm256_setzero_si256();
        for (int bit = 0; bit < 4; bit++)
            for (int s = 0; s < 1 << bit; s++)
                sum[s + (1 << bit)] = _mm256_add_epi32(sum[s], one[bit]);
        for (int s = 0; s < 16; s++)
            _mm256_store_si256((__m256i *)(table[s] + v), sum[s]);
    }
}

/* acc = sum over g of tables[g][nibbles[r, g]], DG_TILE columns: one addition for four inputs.
 * A few tables are filled, and all rows pass over them, before the next ones are. */
static void by_tables(const uint8_t *nibbles, ptrdiff_t stride, ptrdiff_t n_rows,
                      const uint32_t *tile, int32_t *acc)
{
    int32_t tables[TABLES][16][DG_TILE] __attribute__((aligned(64)));
    memset(acc, 0, (size_t)(n_rows * DG_TILE) * sizeof *acc);
    for (ptrdiff_t first = 0; first < stride; first += TABLES) {
        ptrdiff_t n = dg_min(TABLES, stride - first);
        for (ptrdiff_t g = 0; g < n; g++)
            fill_table(tile + (first + g) * 2 * DG_TILE, tables[g]);
        for (ptrdiff_t r = 0; r < n_rows; r++) {
            const uint8_t *states = nibbles + r * stride + first;
            int32_t *sums = acc + r * DG_TILE;
            __m256i sum[VECTORS];
            for (int v = 0; v < VECTORS; v++)
                sum[v] = load(sums + v * LANES);
            for (ptrdiff_t g = 0; g < n; g++) {
                const int32_t *sent = tables[g][states[g]];
                for (int v = 0; v < VECTORS; v++)
                    sum[v] = _mm256_add_epi32(sum[v], load(sent + v * LANES));
            }
            for (int v = 0; v < VECTORS; v++)
                _mm256_storeu_si256((__m256i *)(sums + v * LANES), sum[v]);
        }
    }
}

static void product(const struct dg_inputs *inputs, ptrdiff_t first, ptrdiff_t n_rows,
                    int n_planes, const uint32_t *tile, int32_t *acc)
{
    ptrdiff_t stride = inputs->stride;
    (void)n_planes; /* pairs have no planes */
    if (inputs->nibbles && n_rows >= TABLE_ROWS) {
        by_tables(inputs->nibbles + first * (stride / 2), stride / 2, n_rows, tile, acc);
        return;
    }
    if (!inputs->index) {
        dense(inputs->words + first * stride, stride, inputs->n_words, n_rows, tile, acc);
        return;
    }
    for (ptrdiff_t r = 0; r < n_rows; r++)
        along_list(inputs->words + (first + r) * stride, inputs->index + (first + r) * stride,
                   inputs->length[first + r], tile, acc + r * DG_TILE);
}

const struct dg_fixed dg_fixed_avx2 = {
    DG_PAIRS, 0.45f, 1, DG_PAIRS, 0.45f, pack, turn, dg_word_places, product};
#endif

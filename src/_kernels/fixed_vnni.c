/* AVX-512 VNNI: the byte multiply-add takes four inputs of sixteen columns at once.
 *
 * It multiplies unsigned bytes by signed ones. States are bytes up to 255, so they take the
 * unsigned place, and the low bytes of the numbers must be signed: they are packed less by 128.
 *
 *     sum x q = 256 sum x high + sum x (low - 128) + 128 sum x
 *
 * The last sum belongs to the row alone. Sums wrap around in int32 and the whole fits into it, so
 * it does not matter whether a part does. Numbers of one plane have no high bytes: `planes` is a
 * constant of the caller wherever it stands below. */
#if defined(DG_EMULATE) || (defined(__x86_64__) && !defined(DG_NO_VNNI))
#ifdef DG_EMULATE /* by tests/emulation, on any machine */
#include "intrinsics.h"
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,prefer-vector-width=512")
#include <immintrin.h>
#endif

#include "fixed_pack.h"

#define LANES 16
#define VECTORS (DG_TILE / LANES)
#define STRIP 96 /* words whose weights, both planes, stay in the first-level cache */
#define MICRO_ROWS 4

static void pack(const float *lines, ptrdiff_t stride, float inverse, ptrdiff_t plane,
                 uint32_t *words)
{
    dg_pack_quads(lines, stride, inverse, plane, words);
    for (int w = 0; w < DG_BLOCK / 4 * DG_TILE; w++)
        words[plane + w] ^= DG_SHIFT_LOW;
}

/* Sums keep the type of their lanes: as __m512i GCC 12 copies each of them at each step. */
typedef int32_t sums_vec __attribute__((vector_size(64)));

static inline __m512i load(const void *p)
{
    return _mm512_loadu_si512(p);
}

/* acc += 256 high + low for LANES columns. */
static inline void add_to(int32_t *acc, sums_vec high, sums_vec low)
{
    __m512i sum = _mm512_add_epi32(_mm512_slli_epi32((__m512i)high, 8), (__m512i)low);
    _mm512_storeu_si512(acc, _mm512_add_epi32(load(acc), sum));
}

/* Sum of all bytes of one row. */
static int32_t sum_of_states(const uint32_t *words, ptrdiff_t n_words)
{
    __m512i sum = _mm512_setzero_si512(), ones = _mm512_set1_epi8(1);
    for (ptrdiff_t w = 0; w < n_words; w += LANES)
        sum = _mm512_dpbusd_epi32(sum, load(words + w), ones);
    return _mm512_reduce_add_epi32(sum);
}

/* acc = 128 times the sum of the row's states: what the shift of the low bytes takes away. */
static void start(const uint32_t *words, ptrdiff_t n_words, int32_t *acc)
{
    __m512i shift = _mm512_set1_epi32(128 * sum_of_states(words, n_words));
    for (int v = 0; v < VECTORS; v++)
        _mm512_storeu_si512(acc + v * LANES, shift);
}

/* high, low += what the four states of a word send to DG_TILE columns, by plane. */
DG_INLINE void meet(uint32_t states, const uint32_t *numbers, ptrdiff_t plane, const int planes,
                    sums_vec high[VECTORS], sums_vec low[VECTORS])
{
    __m512i x = _mm512_set1_epi32((int)states);
    for (int v = 0; v < VECTORS; v++) {
        if (planes > 1)
            high[v] = (sums_vec)_mm512_dpbusd_epi32((__m512i)high[v], x, load(numbers + v * LANES));
        low[v] = (sums_vec)_mm512_dpbusd_epi32((__m512i)low[v], x,
                                               load(numbers + plane + v * LANES));
    }
}

/* One row over the words that it has, in two turns: eight independent sums. */
DG_INLINE void along_list(const uint32_t *words, const int32_t *index, ptrdiff_t n,
                          const uint32_t *tile, ptrdiff_t plane, const int planes, int32_t *acc)
{
    sums_vec high[2][VECTORS] = {{{0}}}, low[2][VECTORS] = {{{0}}};
    ptrdiff_t e = 0;
    for (; e + 2 <= n; e += 2)
        for (int turn = 0; turn < 2; turn++)
            meet(words[index[e + turn]], tile + (ptrdiff_t)index[e + turn] * DG_TILE, plane,
                 planes, high[turn], low[turn]);
    if (e < n)
        meet(words[index[e]], tile + (ptrdiff_t)index[e] * DG_TILE, plane, planes, high[0],
             low[0]);
    for (int v = 0; v < VECTORS; v++)
        add_to(acc + v * LANES,
               (sums_vec)_mm512_add_epi32((__m512i)high[0][v], (__m512i)high[1][v]),
               (sums_vec)_mm512_add_epi32((__m512i)low[0][v], (__m512i)low[1][v]));
}

/* acc[r, :] += words[r, :] . tile; n_rows is a constant of the caller */
DG_INLINE void micro(const uint32_t *words, ptrdiff_t stride, ptrdiff_t n_words,
                     const uint32_t *tile, ptrdiff_t plane, const int planes, int32_t *acc,
                     const int n_rows)
{
    sums_vec high[MICRO_ROWS][VECTORS], low[MICRO_ROWS][VECTORS];
    for (int r = 0; r < n_rows; r++)
        for (int v = 0; v < VECTORS; v++)
            high[r][v] = low[r][v] = (sums_vec){0};
    for (ptrdiff_t w = 0; w < n_words; w++)
        for (int r = 0; r < n_rows; r++)
            meet(words[r * stride + w], tile + w * DG_TILE, plane, planes, high[r], low[r]);
    for (int r = 0; r < n_rows; r++)
        for (int v = 0; v < VECTORS; v++)
            add_to(acc + r * DG_TILE + v * LANES, high[r][v], low[r][v]);
}

/* acc += words . tile for DG_TILE columns, all words of each row: strip by strip over all rows. */
DG_INLINE void dense(const uint32_t *words, ptrdiff_t stride, ptrdiff_t n_words,
                     ptrdiff_t n_rows, const uint32_t *tile, ptrdiff_t plane, const int planes,
                     int32_t *acc)
{
    for (ptrdiff_t w = 0; w < n_words; w += STRIP) {
        ptrdiff_t n = dg_min(STRIP, n_words - w), r = 0;
        for (; r + MICRO_ROWS <= n_rows; r += MICRO_ROWS)
            micro(words + r * stride + w, stride, n, tile + w * DG_TILE, plane, planes,
                  acc + r * DG_TILE, MICRO_ROWS);
        for (; r < n_rows; r++)
            micro(words + r * stride + w, stride, n, tile + w * DG_TILE, plane, planes,
                  acc + r * DG_TILE, 1);
    }
}

/* `product` of struct dg_fixed for one number of planes. */
DG_INLINE void product_of(const struct dg_inputs *inputs, ptrdiff_t first, ptrdiff_t n_rows,
                          const uint32_t *tile, const int planes, int32_t *acc)
{
    ptrdiff_t stride = inputs->stride, plane = (planes - 1) * stride * DG_TILE;
    const uint32_t *words = inputs->words + first * stride;
    for (ptrdiff_t r = 0; r < n_rows; r++)
        start(words + r * stride, inputs->n_words, acc + r * DG_TILE);
    if (!inputs->index) {
        dense(words, stride, inputs->n_words, n_rows, tile, plane, planes, acc);
        return;
    }
    for (ptrdiff_t r = 0; r < n_rows; r++)
        along_list(words + r * stride, inputs->index + (first + r) * stride,
                   inputs->length[first + r], tile, plane, planes, acc + r * DG_TILE);
}

static void product(const struct dg_inputs *inputs, ptrdiff_t first, ptrdiff_t n_rows,
                    int n_planes, const uint32_t *tile, int32_t *acc)
{
    if (n_planes == DG_PLANES)
        product_of(inputs, first, n_rows, tile, DG_PLANES, acc);
    else
        product_of(inputs, first, n_rows, tile, 1, acc);
}

const struct dg_fixed dg_fixed_vnni = {DG_SIGNED_QUADS, 0.70f, 0, pack, product};
#endif

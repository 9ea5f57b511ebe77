/* AVX-512 VNNI: multiply-adds that go on in the sum, sixteen columns at once.
 *
 * Weights are PAIRS: the multiply-add of 16-bit pairs takes a whole number where that of bytes would
 * take its high and its low byte one after the other, so a word costs half as much, and a word of two
 * states is zero more often than one of four. Three ways to sum them, in strips of a tile that stay
 * in the first-level cache while all rows pass over them:
 *
 *     few words not zero      along lists of their places
 *     states 0 and 1          tables of the 16 sums of four inputs: one addition for four inputs
 *     all others              multiply-adds of all words
 *
 * Sums of bytes (byte_sums.h) are SIGNED_QUADS: four rows at once, unsigned bytes by signed ones.
 * States are in the unsigned place, so numbers are packed less by 128:
 *
 *     sum x y = sum x (y - 128) + 128 sum x
 *
 * The last sum belongs to the unit alone. Sums wrap around in int32 and the whole fits into it, so
 * it does not matter whether a part does. */
#if defined(DG_EMULATE) || (defined(__x86_64__) && !defined(DG_NO_VNNI))
#ifdef DG_EMULATE /* by tests/emulation, on any machine */
#include "intrinsics.h"
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx2,fma,prefer-vector-width=512")
#include <immintrin.h>
#endif

#include <string.h>

#define DG_TURN_LANES 8
#include "fixed_pack.h"

#define LANES 16
#define VECTORS (DG_TILE / LANES)
#define STRIP 192     /* words of a tile that stay in the first-level cache: 24 KB */
#define MICRO_ROWS 4
#define LIST_ROWS 128 /* whose lists are walked together, strip by strip */

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

/* Sums keep the type of their lanes: as __m512i GCC 12 copies each of them at each step. */
typedef int32_t sums_vec __attribute__((vector_size(64)));

static inline __m512i load(const void *p)
{
    return _mm512_loadu_si512(p);
}

static ptrdiff_t places(const uint32_t *words, ptrdiff_t n_words, uint32_t mask, int32_t *index)
{
    __m512i at = _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
    const __m512i bits = _mm512_set1_epi32((int)mask), step = _mm512_set1_epi32(LANES);
    ptrdiff_t n = 0;
    for (ptrdiff_t w = 0; w < n_words; w += LANES, at = _mm512_add_epi32(at, step)) {
        const unsigned there = n_words - w < LANES ? (1u << (n_words - w)) - 1 : 0xFFFFu;
        __mmask16 found =
            _mm512_test_epi32_mask(_mm512_maskz_loadu_epi32((__mmask16)there, words + w), bits);
        const int count = __builtin_popcount(found);
        /* compressed in a register: to memory it takes a hundred cycles on some processors */
        _mm512_mask_storeu_epi32(index + n, (__mmask16)((1u << count) - 1),
                                 _mm512_maskz_compress_epi32(found, at));
        n += count;
    }
    return n;
}

static inline sums_vec sums_at(const int32_t *acc, int v)
{
    return (sums_vec)load(acc + v * LANES);
}

static inline void put_sums(int32_t *acc, const sums_vec sum[VECTORS])
{
    for (int v = 0; v < VECTORS; v++)
        _mm512_storeu_si512(acc + v * LANES, (__m512i)sum[v]);
}

/* --- weights --------------------------------------------------------------------------------- */

/* sum += what the two states of a word send to DG_TILE columns. */
DG_INLINE void meet(uint32_t states, const uint32_t *numbers, sums_vec sum[VECTORS])
{
    __m512i x = _mm512_set1_epi32((int)states);
    for (int v = 0; v < VECTORS; v++)
        sum[v] = (sums_vec)_mm512_dpwssd_epi32((__m512i)sum[v], x, load(numbers + v * LANES));
}

/* acc[r, :] = sum over the listed words of row r, of at most LIST_ROWS rows. Each strip takes up
 * the list of a row where the last one has left it, in two turns: independent sums. */
static void along_lists(const uint32_t *words, const int32_t *index, const int32_t *length,
                        ptrdiff_t stride, ptrdiff_t n_rows, const uint32_t *tile, int32_t *acc)
{
    int32_t next[LIST_ROWS] = {0};
    memset(acc, 0, (size_t)(n_rows * DG_TILE) * sizeof *acc);
    for (ptrdiff_t end = STRIP; end - STRIP < stride; end += STRIP)
        for (ptrdiff_t r = 0; r < n_rows; r++) {
            const uint32_t *states = words + r * stride;
            const int32_t *places = index + r * stride;
            int32_t e = next[r], n = length[r];
            sums_vec sum[2][VECTORS] = {{{0}}};
            for (; e + 2 <= n && places[e + 1] < end; e += 2)
                for (int turn = 0; turn < 2; turn++) {
                    ptrdiff_t w = places[e + turn];
                    meet(states[w], tile + w * DG_TILE, sum[turn]);
                }
            for (; e < n && places[e] < end; e++)
                meet(states[places[e]], tile + (ptrdiff_t)places[e] * DG_TILE, sum[0]);
            next[r] = e;
            for (int v = 0; v < VECTORS; v++)
                sum[0][v] += sum[1][v] + sums_at(acc + r * DG_TILE, v);
            put_sums(acc + r * DG_TILE, sum[0]);
        }
}

/* acc[r, :] += words[r, :] . tile; n_rows is a constant of the caller */
DG_INLINE void micro(const uint32_t *words, ptrdiff_t stride, ptrdiff_t n_words,
                     const uint32_t *tile, int32_t *acc, const int n_rows)
{
    sums_vec sum[MICRO_ROWS][VECTORS];
    for (int r = 0; r < n_rows; r++)
        for (int v = 0; v < VECTORS; v++)
            sum[r][v] = sums_at(acc + r * DG_TILE, v);
    for (ptrdiff_t w = 0; w < n_words; w++)
        for (int r = 0; r < n_rows; r++)
            meet(words[r * stride + w], tile + w * DG_TILE, sum[r]);
    for (int r = 0; r < n_rows; r++)
        put_sums(acc + r * DG_TILE, sum[r]);
}

/* acc = words . tile for DG_TILE columns, all words of each row. */
static void dense(const uint32_t *words, ptrdiff_t stride, ptrdiff_t n_words, ptrdiff_t n_rows,
                  const uint32_t *tile, int32_t *acc)
{
    memset(acc, 0, (size_t)(n_rows * DG_TILE) * sizeof *acc);
    for (ptrdiff_t w = 0; w < n_words; w += STRIP) {
        ptrdiff_t n = dg_min(STRIP, n_words - w), r = 0;
        for (; r + MICRO_ROWS <= n_rows; r += MICRO_ROWS)
            micro(words + r * stride + w, stride, n, tile + w * DG_TILE, acc + r * DG_TILE,
                  MICRO_ROWS);
        for (; r < n_rows; r++)
            micro(words + r * stride + w, stride, n, tile + w * DG_TILE, acc + r * DG_TILE, 1);
    }
}

/* Tables of what four neighbouring inputs send, for each of their 16 states. */
#define TABLES 12     /* that are in use together: 24 KB, most of the first-level cache */
#define TABLE_ROWS 16 /* so many rows pay for them */

/* table[s] = sum of the numbers whose bit is set in s, for DG_TILE columns */
static inline void fill_table(const uint32_t *numbers, int32_t table[16][DG_TILE])
{
    for (int v = 0; v < DG_TILE; v += LANES) {
        sums_vec one[4], sum[16] = {{0}};
        for (int w = 0; w < 2; w++) { /* a word holds two numbers */
            __m512i pair = load(numbers + w * DG_TILE + v);
            one[2 * w] = (sums_vec)_mm512_srai_epi32(_mm512_slli_epi32(pair, 16), 16);
            one[2 * w + 1] = (sums_vec)_mm512_srai_epi32(pair, 16);
        }
        for (int bit = 0; bit < 4; bit++)
            for (int s = 0; s < 1 << bit; s++)
                sum[s + (1 << bit)] = sum[s] + one[bit];
        for (int s = 0; s < 16; s++)
            _mm512_storeu_si512(table[s] + v, (__m512i)sum[s]);
    }
}

/* acc = sum over g of tables[g][nibbles[r, g]], DG_TILE columns. A few tables are filled, and all
 * rows pass over them, before the next ones are. */
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
            sums_vec sum[VECTORS];
            for (int v = 0; v < VECTORS; v++)
                sum[v] = sums_at(acc + r * DG_TILE, v);
            for (ptrdiff_t g = 0; g < n; g++)
                for (int v = 0; v < VECTORS; v++)
                    sum[v] += sums_at(tables[g][states[g]], v);
            put_sums(acc + r * DG_TILE, sum);
        }
    }
}

static void weight_product(const struct dg_inputs *inputs, ptrdiff_t first, ptrdiff_t n_rows,
                           const uint32_t *tile, int32_t *acc)
{
    ptrdiff_t stride = inputs->stride;
    const uint32_t *words = inputs->words + first * stride;
    if (inputs->nibbles && n_rows >= TABLE_ROWS) {
        by_tables(inputs->nibbles + first * (stride / 2), stride / 2, n_rows, tile, acc);
        return;
    }
    if (!inputs->index) {
        dense(words, stride, inputs->n_words, n_rows, tile, acc);
        return;
    }
    for (ptrdiff_t r = 0; r < n_rows; r += LIST_ROWS)
        along_lists(words + r * stride, inputs->index + (first + r) * stride,
                    inputs->length + first + r, stride, dg_min(LIST_ROWS, n_rows - r), tile,
                    acc + r * DG_TILE);
}

/* --- sums of bytes --------------------------------------------------------------------------- */

/* 128 times the sum of the states of a unit: what the shift of the numbers takes away. */
static sums_vec shift_of(const uint32_t *words, ptrdiff_t n_words)
{
    __m512i sum = _mm512_setzero_si512(), ones = _mm512_set1_epi8(1);
    for (ptrdiff_t w = 0; w < n_words; w += LANES)
        sum = _mm512_dpbusd_epi32(sum, load(words + w), ones);
    return (sums_vec)_mm512_set1_epi32(128 * _mm512_reduce_add_epi32(sum));
}

/* sum += what the states of a unit in four rows, a word, give with DG_TILE columns. */
DG_INLINE void meet_bytes(uint32_t states, const uint32_t *numbers, sums_vec sum[VECTORS])
{
    __m512i x = _mm512_set1_epi32((int)states);
    for (int v = 0; v < VECTORS; v++)
        sum[v] = (sums_vec)_mm512_dpbusd_epi32((__m512i)sum[v], x, load(numbers + v * LANES));
}

/* acc[i, :] = words[i, :] . tile for so many units; n_units is a constant of the caller */
DG_INLINE void micro_bytes(const uint32_t *words, ptrdiff_t n_words, const uint32_t *tile,
                           int32_t *acc, const int n_units)
{
    sums_vec sum[MICRO_ROWS][VECTORS];
    for (int i = 0; i < n_units; i++)
        for (int v = 0; v < VECTORS; v++)
            sum[i][v] = shift_of(words + i * n_words, n_words);
    for (ptrdiff_t w = 0; w < n_words; w++)
        for (int i = 0; i < n_units; i++)
            meet_bytes(words[i * n_words + w], tile + w * DG_TILE, sum[i]);
    for (int i = 0; i < n_units; i++)
        put_sums(acc + i * DG_TILE, sum[i]);
}

/* One unit over the words that it has, in two turns: independent sums. */
static void along_words(const uint32_t *words, ptrdiff_t n_words, const int32_t *index,
                        ptrdiff_t n, const uint32_t *tile, int32_t *acc)
{
    sums_vec sum[2][VECTORS] = {{{0}}};
    ptrdiff_t e = 0;
    for (int v = 0; v < VECTORS; v++)
        sum[0][v] = shift_of(words, n_words);
    for (; e + 2 <= n; e += 2)
        for (int turn = 0; turn < 2; turn++)
            meet_bytes(words[index[e + turn]], tile + (ptrdiff_t)index[e + turn] * DG_TILE,
                       sum[turn]);
    if (e < n)
        meet_bytes(words[index[e]], tile + (ptrdiff_t)index[e] * DG_TILE, sum[0]);
    for (int v = 0; v < VECTORS; v++)
        sum[0][v] += sum[1][v];
    put_sums(acc, sum[0]);
}

static void byte_product(const struct dg_inputs *inputs, ptrdiff_t first, ptrdiff_t n_units,
                         const uint32_t *tile, int32_t *acc)
{
    ptrdiff_t n = inputs->n_words, i = 0;
    const uint32_t *words = inputs->words + first * n;
    if (inputs->index) {
        for (; i < n_units; i++)
            along_words(words + i * n, n, inputs->index + (first + i) * n,
                        inputs->length[first + i], tile, acc + i * DG_TILE);
        return;
    }
    for (; i + MICRO_ROWS <= n_units; i += MICRO_ROWS)
        micro_bytes(words + i * n, n, tile, acc + i * DG_TILE, MICRO_ROWS);
    for (; i < n_units; i++)
        micro_bytes(words + i * n, n, tile, acc + i * DG_TILE, 1);
}

static void product(const struct dg_inputs *inputs, ptrdiff_t first, ptrdiff_t n_rows,
                    int n_planes, const uint32_t *tile, int32_t *acc)
{
    if (n_planes == DG_PLANES)
        weight_product(inputs, first, n_rows, tile, acc);
    else
        byte_product(inputs, first, n_rows, tile, acc);
}

const struct dg_fixed dg_fixed_vnni = {
    DG_PAIRS, 0.45f, 1, DG_SIGNED_QUADS, 0.70f, pack, turn, places, product};
#endif

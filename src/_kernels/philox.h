/* Counter-based random numbers: a draw is a function of who asks, never of when.
 *
 * Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
 * Counter = (column / 4, row, step, purpose); word `column % 4` belongs to the column.
 * What overflows 32 bits of row or step goes into the key, so that no two sites share a draw.
 */
#ifndef DEEPGEN_PHILOX_H
#define DEEPGEN_PHILOX_H

#include <stddef.h>
#include <stdint.h>

#include "compilers.h"

struct dg_stream {
    uint64_t key;
    uint64_t step;      /* update and sweep, or epoch and sweep */
    int64_t first_row;  /* the row that local row 0 stands for */
    uint32_t purpose;   /* kind << 24 | layer << 16 | temperature */
};

/* out = Philox4x32-10 of one counter and key: ten rounds of two 32 x 32 bit products, whose halves
 * are mixed with the other words and the key; the key moves by two constants between rounds. */
static inline void dg_philox(const uint32_t counter[4], const uint32_t key[2], uint32_t out[4])
{
    uint32_t c0 = counter[0], c1 = counter[1], c2 = counter[2], c3 = counter[3];
    uint32_t k0 = key[0], k1 = key[1];
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
}

/* dg_words_of_rows: out[i][j] is the word of column 4 first_block + j of row `row` + i, j < 32, the
 * same as from dg_philox. Eight counters of a row go side by side, in 64-bit lanes that each hold one
 * of their 32-bit words. The files of one instruction set define DG_WIDE_BYTES, the width of their
 * vectors, and DG_MUL32, the product of the low halves of the lanes by a constant. */
#ifndef DG_WIDE_BYTES
#define DG_WIDE_BYTES 16
#define DG_MUL32(lanes, constant) (((lanes) & 0xFFFFFFFFu) * (uint64_t)(constant))
#endif
#define DG_WIDE_LANES (DG_WIDE_BYTES / 8)
#define DG_WIDE_PARTS (8 / DG_WIDE_LANES)

typedef uint64_t dg_wide __attribute__((vector_size(DG_WIDE_BYTES)));

/* Where lane i of the two words of counters goes, and of the upper half of the lanes. */
#if DG_WIDE_BYTES == 64
#define DG_LOWER_PAIRS 0, 8, 1, 9, 2, 10, 3, 11
#define DG_UPPER_PAIRS 4, 12, 5, 13, 6, 14, 7, 15
#elif DG_WIDE_BYTES == 32
#define DG_LOWER_PAIRS 0, 4, 1, 5
#define DG_UPPER_PAIRS 2, 6, 3, 7
#else
#define DG_LOWER_PAIRS 0, 2
#define DG_UPPER_PAIRS 1, 3
#endif

/* `n_rows`, 1 or 2, is a constant of the caller: the chains of products of two rows hide each
 * other's latency where one row is a single vector. */
static inline __attribute__((always_inline)) void dg_words_of_rows(
    const struct dg_stream *stream, int64_t row, const int n_rows, uint32_t first_block,
    uint32_t out[][32])
{
    static const uint64_t numbers[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    const int n_parts = n_rows * DG_WIDE_PARTS;
    const dg_wide zero = {0}, low = zero + 0xFFFFFFFFu; /* upper halves are not read before the end */
    uint32_t start0 = (uint32_t)stream->key ^ (uint32_t)(stream->step >> 32), start1[2];
    dg_wide c0[2 * DG_WIDE_PARTS], c1[2 * DG_WIDE_PARTS], c2[2 * DG_WIDE_PARTS];
    dg_wide c3[2 * DG_WIDE_PARTS];
    for (int i = 0; i < n_rows; i++) {
        uint64_t site = (uint64_t)(stream->first_row + row + i);
        start1[i] = (uint32_t)(stream->key >> 32) ^ (uint32_t)(site >> 32);
        __builtin_memcpy(c0 + i * DG_WIDE_PARTS, numbers, sizeof numbers);
        for (int part = i * DG_WIDE_PARTS; part < (i + 1) * DG_WIDE_PARTS; part++) {
            c0[part] += first_block;
            c1[part] = zero + (uint32_t)site;
            c2[part] = zero + (uint32_t)stream->step;
            c3[part] = zero + stream->purpose;
        }
    }
    for (int round = 0; round < 10; round++) {
        for (int part = 0; part < n_parts; part++) {
            dg_wide p0 = DG_MUL32(c0[part], 0xD2511F53u), p1 = DG_MUL32(c2[part], 0xCD9E8D57u);
            c0[part] = (p1 >> 32) ^ c1[part] ^ (zero + start0);
            c2[part] = (p0 >> 32) ^ c3[part] ^ (zero + start1[part / DG_WIDE_PARTS]);
            c1[part] = p1;
            c3[part] = p0;
        }
        start0 += 0x9E3779B9u;
        for (int i = 0; i < n_rows; i++)
            start1[i] += 0xBB67AE85u;
    }
    for (int part = 0; part < n_parts; part++) {
        dg_wide even = (c0[part] & low) | c1[part] << 32, odd = (c2[part] & low) | c3[part] << 32;
        dg_wide words[2] = {DG_SHUFFLE(even, odd, DG_LOWER_PAIRS),
                            DG_SHUFFLE(even, odd, DG_UPPER_PAIRS)};
        __builtin_memcpy(out[part / DG_WIDE_PARTS] + part % DG_WIDE_PARTS * 4 * DG_WIDE_LANES, words,
                         sizeof words);
    }
}

static inline void dg_words32(const struct dg_stream *stream, int64_t row, uint32_t first_block,
                              uint32_t out[32])
{
    dg_words_of_rows(stream, row, 1, first_block, (uint32_t(*)[32])out);
}

/* Uniform in (0, 1): 23 bits and a half, because the usual 24-bit form reaches 1.0 in float32. */
static inline float dg_uniform(uint32_t word)
{
    return ((float)(int32_t)(word >> 9) + 0.5f) * 0x1p-23f;
}

#endif

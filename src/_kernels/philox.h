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

/* dg_words32: out[j] is the word of column 4 first_block + j of one row, j < 32, the same as from
 * dg_philox. Eight counters go side by side, in 64-bit lanes that each hold one of their 32-bit
 * words. The files of one instruction set define DG_WIDE_BYTES, the width of their vectors, and
 * DG_MUL32, the product of the low halves of the lanes by a constant. */
#ifndef DG_WIDE_BYTES
#define DG_WIDE_BYTES 16
#define DG_MUL32(lanes, constant) (((lanes) & 0xFFFFFFFFu) * (uint64_t)(constant))
#endif
#define DG_WIDE_LANES (DG_WIDE_BYTES / 8)
#define DG_WIDE_PARTS (8 / DG_WIDE_LANES)

typedef uint64_t dg_wide __attribute__((vector_size(DG_WIDE_BYTES)));

static inline void dg_words32(const struct dg_stream *stream, int64_t row, uint32_t first_block,
                              uint32_t out[32])
{
    uint64_t site = (uint64_t)(stream->first_row + row);
    uint32_t start0 = (uint32_t)stream->key ^ (uint32_t)(stream->step >> 32);
    uint32_t start1 = (uint32_t)(stream->key >> 32) ^ (uint32_t)(site >> 32);
    /* all blocks go through a round together: their chains of products hide each other's latency */
    dg_wide zero = {0}, low = zero + 0xFFFFFFFFu; /* upper halves are not read before the end */
    dg_wide c0[DG_WIDE_PARTS], c1[DG_WIDE_PARTS], c2[DG_WIDE_PARTS], c3[DG_WIDE_PARTS];
    static const uint64_t numbers[8] = {0, 1, 2, 3, 4, 5, 6, 7};
    __builtin_memcpy(c0, numbers, sizeof numbers);
    for (int part = 0; part < DG_WIDE_PARTS; part++) {
        c0[part] += first_block;
        c1[part] = zero + (uint32_t)site;
        c2[part] = zero + (uint32_t)stream->step;
        c3[part] = zero + stream->purpose;
    }
    for (int round = 0; round < 10; round++) {
        for (int part = 0; part < DG_WIDE_PARTS; part++) {
            dg_wide p0 = DG_MUL32(c0[part], 0xD2511F53u), p1 = DG_MUL32(c2[part], 0xCD9E8D57u);
            c0[part] = (p1 >> 32) ^ c1[part] ^ (zero + start0);
            c2[part] = (p0 >> 32) ^ c3[part] ^ (zero + start1);
            c1[part] = p1;
            c3[part] = p0;
        }
        start0 += 0x9E3779B9u;
        start1 += 0xBB67AE85u;
    }
    for (int part = 0; part < DG_WIDE_PARTS; part++) {
        c0[part] = (c0[part] & low) | c1[part] << 32;
        c2[part] = (c2[part] & low) | c3[part] << 32;
        for (int lane = 0; lane < DG_WIDE_LANES; lane++) {
            uint64_t pair[2] = {c0[part][lane], c2[part][lane]};
            __builtin_memcpy(out + 4 * (part * DG_WIDE_LANES + lane), pair, sizeof pair);
        }
    }
}

/* Uniform in (0, 1): 23 bits and a half, because the usual 24-bit form reaches 1.0 in float32. */
static inline float dg_uniform(uint32_t word)
{
    return ((float)(int32_t)(word >> 9) + 0.5f) * 0x1p-23f;
}

#endif

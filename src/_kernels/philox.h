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

/* Words of 8 neighbouring blocks (32 columns) of one row, 64-bit lanes of 32-bit values. The
 * files of one instruction set define DG_WIDE_BYTES, the width of their vectors, and DG_MUL32,
 * the product of the low halves of the lanes by a constant. */
#ifndef DG_WIDE_BYTES
#define DG_WIDE_BYTES 16
#define DG_MUL32(lanes, constant) ((lanes) * (uint64_t)(constant))
#endif
#define DG_WIDE_LANES (DG_WIDE_BYTES / 8)

typedef uint64_t dg_wide __attribute__((vector_size(DG_WIDE_BYTES)));

static inline void dg_words32(const struct dg_stream *stream, int64_t row, uint32_t first_block,
                              uint32_t out[32])
{
    uint64_t site = (uint64_t)(stream->first_row + row);
    uint32_t start0 = (uint32_t)stream->key ^ (uint32_t)(stream->step >> 32);
    uint32_t start1 = (uint32_t)(stream->key >> 32) ^ (uint32_t)(site >> 32);
    for (int part = 0; part < 8; part += DG_WIDE_LANES) {
        dg_wide zero = {0}, low = zero + 0xFFFFFFFFu;
        dg_wide c0 = zero, c1 = zero + (uint32_t)site, c2 = zero + (uint32_t)stream->step;
        dg_wide c3 = zero + stream->purpose;
        uint32_t k0 = start0, k1 = start1;
        for (int lane = 0; lane < DG_WIDE_LANES; lane++)
            c0[lane] = (uint32_t)(first_block + (uint32_t)(part + lane));
        for (int round = 0; round < 10; round++) {
            dg_wide p0 = DG_MUL32(c0, 0xD2511F53u), p1 = DG_MUL32(c2, 0xCD9E8D57u);
            c0 = (p1 >> 32) ^ c1 ^ (zero + k0);
            c2 = (p0 >> 32) ^ c3 ^ (zero + k1);
            c1 = p1 & low;
            c3 = p0 & low;
            k0 += 0x9E3779B9u;
            k1 += 0xBB67AE85u;
        }
        c0 |= c1 << 32;
        c2 |= c3 << 32;
        for (int lane = 0; lane < DG_WIDE_LANES; lane++) {
            uint64_t pair[2] = {c0[lane], c2[lane]};
            __builtin_memcpy(out + 4 * (part + lane), pair, sizeof pair);
        }
    }
}

/* Uniform in (0, 1): 23 bits and a half, because the usual 24-bit form reaches 1.0 in float32. */
static inline float dg_uniform(uint32_t word)
{
    return ((float)(int32_t)(word >> 9) + 0.5f) * 0x1p-23f;
}

#endif

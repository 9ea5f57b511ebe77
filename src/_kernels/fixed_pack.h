/* How words of weights are written, for the files of one instruction set to compile. */
#ifndef DEEPGEN_FIXED_PACK_H
#define DEEPGEN_FIXED_PACK_H

#include "compilers.h"
#include "elementwise.h"
#include "fixed_point.h"

/* weight / scale rounded to the nearest whole number, ties to even: adding 1.5 * 2^23 leaves it
 * in the low bits. No weight is beyond DG_LARGEST at its own scale; at the scale of an earlier
 * update it may be, and is packed again. */
DG_INLINE int32_t dg_number(float weight, float inverse)
{
    int32_t number = dg_bits(weight * inverse + 12582912.0f) - 0x4B400000;
    number = number < -DG_LARGEST ? -DG_LARGEST : number;
    return number > DG_LARGEST ? DG_LARGEST : number;
}

/* A block of DG_BLOCK inputs by DG_TILE columns as words (fixed_point.h has the layouts):
 * lines[k * stride + c] is the weight of input k and column c, inverse is 1 / scale. Word w of
 * column c goes to words[w * DG_TILE + c]; the low plane of QUADS lies `plane` words behind. */
DG_INLINE void dg_pack_pairs(const float *lines, ptrdiff_t stride, float inverse, uint32_t *words)
{
    for (int w = 0; w < DG_BLOCK / 2; w++) {
        const float *first = lines + 2 * w * stride, *second = first + stride;
        for (int c = 0; c < DG_TILE; c++)
            words[w * DG_TILE + c] = ((uint32_t)dg_number(first[c], inverse) & 0xFFFF) |
                                     (uint32_t)dg_number(second[c], inverse) << 16;
    }
}

/* The other order of a whole block of PAIRS, DG_BLOCK inputs by DG_TILE columns: its columns are
 * the inputs there, and its inputs the columns.
 *
 *     from   word w, columns 2v, 2v + 1:  q[2w, 2v] q[2w + 1, 2v] | q[2w, 2v + 1] q[2w + 1, 2v + 1]
 *     to     word v, columns 2w, 2w + 1:  q[2w, 2v] q[2w, 2v + 1] | q[2w + 1, 2v] q[2w + 1, 2v + 1]
 *
 * So two words, 64 bits, have their middle halves swapped, and the 16 by 16 matrix of them is
 * turned: by blocks of as many as a vector has lanes. In a block, rows r and r + apart swap what
 * lies `apart` lanes off the diagonal, for apart 4, 2 and 1. The files of one instruction set
 * define DG_TURN_LANES. */
#ifndef DG_TURN_LANES
#define DG_TURN_LANES 2
#endif
typedef uint64_t dg_turned __attribute__((vector_size(8 * DG_TURN_LANES)));

/* Lanes of rows r and r + apart, of both together, that become row r, and row r + apart. */
#if DG_TURN_LANES == 8
#define DG_TURNS \
    DG_SWAP(4, (0, 1, 2, 3, 8, 9, 10, 11), (4, 5, 6, 7, 12, 13, 14, 15)) \
    DG_SWAP(2, (0, 1, 8, 9, 4, 5, 12, 13), (2, 3, 10, 11, 6, 7, 14, 15)) \
    DG_SWAP(1, (0, 8, 2, 10, 4, 12, 6, 14), (1, 9, 3, 11, 5, 13, 7, 15))
#elif DG_TURN_LANES == 4
#define DG_TURNS \
    DG_SWAP(2, (0, 1, 4, 5), (2, 3, 6, 7)) \
    DG_SWAP(1, (0, 4, 2, 6), (1, 5, 3, 7))
#else
#define DG_TURNS DG_SWAP(1, (0, 2), (1, 3))
#endif
#define DG_LANES(...) __VA_ARGS__
#define DG_SWAP(apart, lower, upper) \
    for (int r = 0; r < DG_TURN_LANES; r++) \
        if (!(r & (apart))) { \
            dg_turned a = rows[r], b = rows[r + (apart)]; \
            rows[r] = DG_SHUFFLE(a, b, DG_LANES lower); \
            rows[r + (apart)] = DG_SHUFFLE(a, b, DG_LANES upper); \
        }

DG_INLINE void dg_turn_pairs(const uint32_t *from, uint32_t *to)
{
    const int n = DG_BLOCK / 2; /* of each side of the matrix */
    _Static_assert(DG_BLOCK == DG_TILE, "a block turned is a block");
    for (int w = 0; w < n; w += DG_TURN_LANES)
        for (int v = 0; v < n; v += DG_TURN_LANES) {
            dg_turned rows[DG_TURN_LANES];
            for (int r = 0; r < DG_TURN_LANES; r++) {
                memcpy(&rows[r], from + (w + r) * DG_TILE + 2 * v, sizeof rows[r]);
                dg_turned other = (rows[r] ^ rows[r] >> 16) & 0xFFFF0000u;
                rows[r] ^= other ^ other << 16;
            }
            DG_TURNS
            for (int r = 0; r < DG_TURN_LANES; r++)
                memcpy(to + (v + r) * DG_TILE + 2 * w, &rows[r], sizeof rows[r]);
        }
}

DG_INLINE void dg_pack_quads(const float *lines, ptrdiff_t stride, float inverse, ptrdiff_t plane,
                             uint32_t *words)
{
    for (int w = 0; w < DG_BLOCK / 4; w++)
        for (int c = 0; c < DG_TILE; c++) {
            uint32_t high = 0, low = 0;
            for (int i = 0; i < 4; i++) {
                uint32_t number = (uint32_t)dg_number(lines[(4 * w + i) * stride + c], inverse);
                high |= (number >> 8 & 0xFF) << 8 * i;
                low |= (number & 0xFF) << 8 * i;
            }
            words[w * DG_TILE + c] = high;
            words[plane + w * DG_TILE + c] = low;
        }
}

#endif

/* How words of weights are written, for the files of one instruction set to compile. */
#ifndef DEEPGEN_FIXED_PACK_H
#define DEEPGEN_FIXED_PACK_H

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

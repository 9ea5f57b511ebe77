/* Plain C: the reference that the other instruction sets equal. Pairs of states meet pairs of
 * numbers, as in the 16-bit multiply-add that many instruction sets have. */
#include <string.h>

#include "fixed_pack.h"

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

/* acc[c] += what the two states of a word send to column c. */
static inline void add_word(int32_t *acc, uint32_t states, const uint32_t *numbers)
{
    int32_t first = (int32_t)(states & 0xFFFF), second = (int32_t)(states >> 16);
    for (int c = 0; c < DG_TILE; c++)
        acc[c] += first * (int16_t)(numbers[c] & 0xFFFF) + second * (int16_t)(numbers[c] >> 16);
}

static void product(const struct dg_inputs *inputs, ptrdiff_t first, ptrdiff_t n_rows,
                    int n_planes, const uint32_t *tile, int32_t *acc)
{
    (void)n_planes; /* pairs have no planes */
    memset(acc, 0, (size_t)(n_rows * DG_TILE) * sizeof *acc);
    for (ptrdiff_t r = 0; r < n_rows; r++) {
        const uint32_t *words = inputs->words + (first + r) * inputs->stride;
        const int32_t *index = inputs->index + (first + r) * inputs->stride;
        ptrdiff_t n = inputs->index ? inputs->length[first + r] : inputs->n_words;
        for (ptrdiff_t e = 0; e < n; e++) {
            ptrdiff_t w = inputs->index ? index[e] : e;
            add_word(acc + r * DG_TILE, words[w], tile + w * DG_TILE);
        }
    }
}

const struct dg_fixed dg_fixed_generic = {
    DG_PAIRS, 0.70f, 0, DG_PAIRS, 0.70f, pack, turn, dg_word_places, product};

/* Weights as 16-bit fixed-point numbers, and products of whole-number states with them.
 *
 * Where states are whole numbers (binary units, copies of them, one-hot groups), a field is
 *
 *     field = bias + scale * sum_k x[k] q[k, j],      weights[k, j] ~ scale * q[k, j]
 *
 * with q in -32767 .. 32767, one power of two `scale` for the whole matrix, and the sum exact in
 * int32. An integer sum does not depend on its order: every instruction set, blocking and number
 * of threads gives the same field. docs/kernels.md draws the layouts.
 *
 * States and numbers are stored in words of 32 bits. A word of inputs holds the states of `group`
 * neighbouring units of one row; a word of weights the numbers that they meet in one column:
 *
 *     PAIRS   group 2: two 16-bit states          word w, column c:  q[2w, c] | q[2w + 1, c] << 16
 *     QUADS   group 4: four bytes of states       two planes, high bytes (signed) and then low
 *                                                 ones (unsigned) of q[4w .. 4w + 3, c]
 *     SIGNED_QUADS                                of numbers that are bytes: one plane, less by 128,
 *                                                 so signed
 */
#ifndef DEEPGEN_FIXED_POINT_H
#define DEEPGEN_FIXED_POINT_H

#include "chain.h"
#include "parallel.h"
#include "units.h"

#define DG_LARGEST 32767 /* |q| */
/* States of a row add up to at most so much: then no sum leaves int32. */
#define DG_MOST_STATES 65535
/* Means are bytes up to 255, so that no more of them may enter one sum: 256 * 255 = 65,280. */
#define DG_STRIP_INPUTS 256

enum dg_layout { DG_PAIRS = 0, DG_QUADS = 1, DG_SIGNED_QUADS = 2 };
#define DG_PLANES 2 /* of the numbers of a weight matrix */
#define DG_SHIFT_BYTES 0x80808080u /* XOR: four bytes less by 128, as signed ones */

/* Words of a row of inputs are rounded up to so many, zero beyond the inputs. */
#define DG_WORDS 16

/* Both packed orders of one weight matrix, each as tiles of DG_TILE columns: those that a task of a
 * pass works on together (docs/kernels.md). */
struct dg_packed {
    int layout;
    float scale;          /* a power of two */
    char *memory;         /* dg_packed_bytes() */
    uint32_t *up;         /* fields of the upper layer: inputs are lower units */
    uint32_t *down;       /* fields of the lower layer */
};

/* A panel of rows as inputs. */
struct dg_inputs {
    ptrdiff_t stride;        /* words of each row, a multiple of DG_WORDS */
    ptrdiff_t n_words;       /* those that are summed, a multiple of DG_WORDS too */
    const uint32_t *words;   /* (n_rows, stride) */
    const int32_t *index;    /* (n_rows, stride): places of words that are not zero; NULL: dense */
    const int32_t *length;   /* (n_rows,) */
    const uint8_t *nibbles;  /* (n_rows, stride / 2): PAIRS of states 0 and 1, four to a number;
                              * NULL where they are not asked for */
};

/* Weights are packed in blocks of so many inputs by DG_TILE columns. */
#define DG_BLOCK 32
_Static_assert(DG_BLOCK == DG_TILE, "pieces of an update are blocks of either order");

/* The operations of one instruction set on such numbers. */
struct dg_fixed {
    int layout; /* of weights */
    /* Up to this share of words that are not zero lists are faster; 0: lists are never read. */
    float list_density;
    int reads_nibbles;
    /* The same of sums over rows of products of bytes (byte_sums.h), whose numbers are bytes. */
    int sums_layout;
    float sums_list_density;
    /* words of DG_BLOCK inputs of a tile from their lines of DG_TILE weights, `stride` apart; the
     * low plane of QUADS lies `plane` words behind */
    void (*pack)(const float *lines, ptrdiff_t stride, float inverse, ptrdiff_t plane,
                 uint32_t *words);
    /* `to`, the words of a whole block (DG_BLOCK inputs by DG_TILE columns) in the other order, from
     * those in one; NULL: both are packed from the weights */
    void (*turn)(const uint32_t *from, uint32_t *to);
    /* index: places of the words that have a bit of the mask, ascending; returns how many. n_words is
     * any number; nothing is written beyond index[n_words - 1] */
    ptrdiff_t (*places)(const uint32_t *words, ptrdiff_t n_words, uint32_t mask, int32_t *index);
    /* acc[r, c] = sum_w inputs[first + r, w] . tile[w, c] for DG_TILE columns, exactly. Of
     * DG_PLANES planes: weights, in `layout`, the planes of QUADS inputs->stride lines apart. Of
     * one: bytes, in `sums_layout`. */
    void (*product)(const struct dg_inputs *inputs, ptrdiff_t first, ptrdiff_t n_rows,
                    int n_planes, const uint32_t *tile, int32_t *acc);
};

extern const struct dg_fixed dg_fixed_generic;
#ifdef __x86_64__
extern const struct dg_fixed dg_fixed_avx2, dg_fixed_vnni, dg_fixed_amx;
#endif

/* Inputs of one word. */
static inline ptrdiff_t dg_word_inputs(int layout)
{
    return layout == DG_PAIRS ? 2 : 4;
}

static inline ptrdiff_t dg_n_words(int layout, ptrdiff_t n_inputs)
{
    return dg_round_up(n_inputs, dg_word_inputs(layout) * DG_WORDS) / dg_word_inputs(layout);
}

/* 32-bit words of one tile: the planes of QUADS are as long as PAIRS together. */
static inline ptrdiff_t dg_tile_words(int layout, ptrdiff_t n_inputs)
{
    return dg_n_words(layout, n_inputs) * DG_TILE * (layout == DG_PAIRS ? 1 : 2);
}

/* Tiles of a layer: its blocks (dg_block_width) cut at DG_TILE columns. */
static inline ptrdiff_t dg_n_tiles(const struct layer *layer)
{
    ptrdiff_t block = dg_block_width(layer);
    return (layer->size + block - 1) / block * ((block + DG_TILE - 1) / DG_TILE);
}

/* Bytes of both orders in the larger layout. */
size_t dg_packed_bytes(const struct layer *lower, const struct layer *upper);

/* The smallest power of two at which no number is above DG_LARGEST: the packed form is a function
 * of the weights alone. */
float dg_scale(float largest);
float dg_largest(const float *weights, ptrdiff_t n, int n_threads);

/* Pack the whole matrix for the instruction set in use. */
void dg_pack(struct dg_packed *packed, const struct layer *lower,
             const struct layer *upper, const float *weights, int n_threads);

/* Whether dg_pack_piece() may follow each step of an update: units lie in whole tiles. */
static inline int dg_packs_by_pieces(const struct layer *lower, const struct layer *upper)
{
    return dg_block_width(lower) == DG_TILE && dg_block_width(upper) == DG_TILE;
}

/* Pack again, at the same scale, what the weights of DG_TILE lower units from `row` on and of
 * `n_columns` upper ones from `first` on decide; `row` and `first` are multiples of DG_TILE, and
 * n_columns is too, or reaches the end. */
void dg_pack_piece(const struct dg_packed *packed, const struct layer *lower,
                   const struct layer *upper, const float *weights, ptrdiff_t row,
                   ptrdiff_t first, ptrdiff_t n_columns);

/* Round the weights to what their packed form stands for; returns how many changed. */
int64_t dg_round_weights(float *weights, ptrdiff_t n, int n_threads);

/* Write one row of states as words; returns how many words are not zero, or -1 where a state is
 * no whole number up to `most`. */
ptrdiff_t dg_row_words(int layout, const struct rows *x, ptrdiff_t row, ptrdiff_t size, int most,
                       uint32_t *words);

/* Four states to a number, bit i for the i-th: of PAIRS of states 0 and 1. */
void dg_word_nibbles(const uint32_t *words, ptrdiff_t n_words, uint8_t *nibbles);

/* dg_fixed.places in plain C. */
ptrdiff_t dg_word_places(const uint32_t *words, ptrdiff_t n_words, uint32_t mask, int32_t *index);

#endif

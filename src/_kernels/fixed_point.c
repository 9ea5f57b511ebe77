/* Scale, rounding and packing of weights; rows of states as words. fixed_point.h says what they
 * are; the products with them are in a file for each instruction set. */
#include <math.h>
#include <string.h>

#include "backend.h"
#include "fixed_pack.h"

/* Weights of one task where all of them are visited once. */
#define PIECE 16384

size_t dg_packed_bytes(const struct layer *lower, const struct layer *upper)
{
    size_t most = 0;
    for (int layout = DG_PAIRS; layout <= DG_QUADS; layout++) {
        size_t words = (size_t)(dg_n_tiles(upper) * dg_tile_words(layout, lower->size) +
                                dg_n_tiles(lower) * dg_tile_words(layout, upper->size));
        most = words > most ? words : most;
    }
    return most * sizeof(uint32_t) + 64;
}

float dg_scale(float largest)
{
    int exponent;
    if (!(largest > 0.0f) || !isfinite(largest))
        return 0x1p-126f;
    frexpf(largest, &exponent); /* largest = m 2^exponent, m in [1/2, 1) */
    exponent -= 15;
    if (largest > ldexpf((float)DG_LARGEST, exponent))
        exponent++;
    if (exponent > 113) /* DG_LARGEST steps must be a float */
        exponent = 113;
    return ldexpf(1.0f, exponent < -126 ? -126 : exponent);
}

/* max |weights|, infinite or not a number where one of them is. */
DG_CLONES
static float largest_of(const float *weights, ptrdiff_t n)
{
    int32_t most = 0; /* magnitudes compare as their bits do */
    for (ptrdiff_t i = 0; i < n; i++) {
        int32_t bits = dg_bits(weights[i]) & 0x7FFFFFFF;
        most = bits > most ? bits : most;
    }
    return dg_from_bits(most);
}

float dg_largest(const float *weights, ptrdiff_t n, int n_threads)
{
    float most = 0.0f;
    DG_OMP(omp parallel for num_threads(n_threads) if (n_threads > 1) schedule(static)
           reduction(max : most))
    for (ptrdiff_t i = 0; i < n; i += PIECE) {
        float one = largest_of(weights + i, dg_min(PIECE, n - i));
        most = one > most ? one : most;
    }
    return most;
}

/* weights = scale * the nearest number; returns how many changed. */
DG_CLONES
static int64_t round_piece(float *weights, ptrdiff_t n, float scale, float inverse)
{
    int64_t changed = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        float rounded = (float)dg_number(weights[i], inverse) * scale;
        changed += rounded != weights[i];
        weights[i] = rounded;
    }
    return changed;
}

int64_t dg_round_weights(float *weights, ptrdiff_t n, int n_threads)
{
    float scale = dg_scale(dg_largest(weights, n, n_threads));
    int64_t changed = 0;
    DG_OMP(omp parallel for num_threads(n_threads) if (n_threads > 1) schedule(static)
           reduction(+ : changed))
    for (ptrdiff_t i = 0; i < n; i += PIECE)
        changed += round_piece(weights + i, dg_min(PIECE, n - i), scale, 1.0f / scale);
    return changed;
}

/* --- packing ------------------------------------------------------------------------------- */

/* Columns of tile t of a layer: the first one and how many. */
static void tile_columns(const struct layer *layer, ptrdiff_t t, ptrdiff_t *first,
                         ptrdiff_t *width)
{
    ptrdiff_t block = dg_block_width(layer), in_block = (block + DG_TILE - 1) / DG_TILE;
    ptrdiff_t start = t / in_block * block, sub = t % in_block * DG_TILE;
    *first = start + sub;
    *width = dg_min(DG_TILE, dg_min(block, layer->size - start) - sub);
    if (*width < 0)
        *width = 0;
}

/* Inputs of whole words, those that pad the last ones with zeros included. */
static ptrdiff_t padded_inputs(int layout, ptrdiff_t n_inputs)
{
    return dg_n_words(layout, n_inputs) * dg_word_inputs(layout);
}

/* Where the words of a tile for the inputs from `first` on begin. */
static uint32_t *words_at(uint32_t *tiles, int layout, ptrdiff_t n_inputs, ptrdiff_t tile,
                          ptrdiff_t first)
{
    ptrdiff_t word = first / dg_word_inputs(layout);
    return tiles + tile * dg_tile_words(layout, n_inputs) + word * DG_TILE;
}

/* Words of DG_BLOCK inputs of one tile, zero where there are fewer inputs or columns. */
static void pack_block(const struct dg_fixed *fixed, const float *lines, ptrdiff_t stride,
                       ptrdiff_t n_inputs, ptrdiff_t width, float inverse, ptrdiff_t plane,
                       uint32_t *words)
{
    float padded[DG_BLOCK * DG_TILE];
    if (n_inputs < DG_BLOCK || width < DG_TILE) {
        memset(padded, 0, sizeof padded);
        for (ptrdiff_t k = 0; k < n_inputs; k++)
            memcpy(padded + k * DG_TILE, lines + k * stride, (size_t)width * sizeof *padded);
        lines = padded;
        stride = DG_TILE;
    }
    fixed->pack(lines, stride, inverse, plane, words);
}

/* Inputs first .. first + DG_BLOCK - 1 of tiles from .. to - 1 of the upper layer: what the lower
 * units send up. Lines of the matrix are lines of the block; beyond the last lower unit there are
 * none, and the words are zero. */
static void pack_up(const struct dg_packed *packed, const struct layer *lower,
                    const struct layer *upper, const float *weights, ptrdiff_t first,
                    ptrdiff_t from, ptrdiff_t to)
{
    const struct dg_fixed *fixed = dg_backend()->fixed;
    ptrdiff_t plane = dg_n_words(packed->layout, lower->size) * DG_TILE;
    ptrdiff_t n_inputs = dg_min(DG_BLOCK, lower->size - first);
    for (ptrdiff_t t = from; t < to; t++) {
        ptrdiff_t column, width;
        tile_columns(upper, t, &column, &width);
        pack_block(fixed, weights + first * upper->size + column, upper->size,
                   n_inputs < 0 ? 0 : n_inputs, width, 1.0f / packed->scale, plane,
                   words_at(packed->up, packed->layout, lower->size, t, first));
    }
}

/* Tile t of the lower layer, inputs from .. to - 1, multiples of DG_BLOCK: what the upper units
 * send down. Inputs are columns of the matrix here, so it is read block by block, and turned. */
static void pack_down(const struct dg_packed *packed, const struct layer *lower,
                      const struct layer *upper, const float *weights, ptrdiff_t t,
                      ptrdiff_t from, ptrdiff_t to)
{
    const struct dg_backend *backend = dg_backend();
    float turned[DG_BLOCK * DG_TILE];
    ptrdiff_t plane = dg_n_words(packed->layout, upper->size) * DG_TILE, row, height;
    tile_columns(lower, t, &row, &height);
    for (ptrdiff_t k = from; k < to; k += DG_BLOCK) {
        ptrdiff_t n_inputs = dg_min(DG_BLOCK, upper->size - k);
        n_inputs = height > 0 && n_inputs > 0 ? n_inputs : 0;
        if (n_inputs)
            backend->transpose(weights + k, upper->size, row, height, n_inputs, turned);
        pack_block(backend->fixed, turned, DG_TILE, n_inputs, height, 1.0f / packed->scale, plane,
                   words_at(packed->down, packed->layout, upper->size, t, k));
    }
}

/* Tasks: blocks of lower units in both orders; or, where units do not lie in whole tiles, blocks of
 * them for the order `up`, then tiles of them for `down`. */
void dg_pack(struct dg_packed *packed, const struct layer *lower, const struct layer *upper,
             const float *weights, int n_threads)
{
    float largest = dg_largest(weights, lower->size * upper->size, n_threads);
    packed->layout = dg_backend()->fixed->layout;
    packed->scale = dg_scale(largest);
    packed->up = (uint32_t *)(((uintptr_t)packed->memory + 63) / 64 * 64);
    packed->down = packed->up + dg_n_tiles(upper) * dg_tile_words(packed->layout, lower->size);
    ptrdiff_t n_up = padded_inputs(packed->layout, lower->size) / DG_BLOCK;
    const int by_pieces = dg_backend()->fixed->turn && dg_packs_by_pieces(lower, upper);
    DG_OMP(omp parallel for num_threads(n_threads) if (n_threads > 1) schedule(dynamic, 1))
    for (ptrdiff_t task = 0; task < n_up + (by_pieces ? 0 : dg_n_tiles(lower)); task++) {
        DG_FLUSH;
        if (by_pieces)
            dg_pack_piece(packed, lower, upper, weights, task * DG_BLOCK, 0, upper->size);
        else if (task < n_up)
            pack_up(packed, lower, upper, weights, task * DG_BLOCK, 0, dg_n_tiles(upper));
        else
            pack_down(packed, lower, upper, weights, task - n_up, 0,
                      padded_inputs(packed->layout, upper->size));
    }
}

void dg_pack_piece(const struct dg_packed *packed, const struct layer *lower,
                   const struct layer *upper, const float *weights, ptrdiff_t row,
                   ptrdiff_t first, ptrdiff_t n_columns)
{
    const struct dg_fixed *fixed = dg_backend()->fixed;
    ptrdiff_t end = first + dg_round_up(n_columns, DG_TILE);
    pack_up(packed, lower, upper, weights, row, first / DG_TILE, end / DG_TILE);
    if (!fixed->turn) {
        pack_down(packed, lower, upper, weights, row / DG_TILE, first, end);
        return;
    }
    for (ptrdiff_t k = first; k < end; k += DG_BLOCK)
        fixed->turn(words_at(packed->up, packed->layout, lower->size, k / DG_TILE, row),
                    words_at(packed->down, packed->layout, upper->size, row / DG_TILE, k));
}

/* --- inputs -------------------------------------------------------------------------------- */

/* Bytes as 16-bit numbers: PAIRS. */
DG_CLONES
static void widen(const uint8_t *bytes, ptrdiff_t n, uint16_t *out)
{
    for (ptrdiff_t j = 0; j < n; j++)
        out[j] = bytes[j];
}

DG_CLONES
static ptrdiff_t count_words(const uint32_t *words, ptrdiff_t n_words)
{
    int32_t count = 0;
    for (ptrdiff_t w = 0; w < n_words; w++)
        count += words[w] != 0;
    return count;
}

/* Write one state into the words of its row. */
static inline void put(int layout, uint32_t *words, ptrdiff_t column, uint8_t state)
{
    if (layout == DG_PAIRS)
        ((uint16_t *)words)[column] = state;
    else
        ((uint8_t *)words)[column] = state;
}

/* The state that a float stands for, or -1. */
static inline int whole(float value, int most)
{
    int state = value >= 0.0f && value <= (float)most ? (int)value : -1;
    return (float)state == value ? state : -1;
}

ptrdiff_t dg_row_words(int layout, const struct rows *x, ptrdiff_t row, ptrdiff_t size, int most,
                       uint32_t *words)
{
    ptrdiff_t n_words = dg_n_words(layout, size);
    size_t width = layout == DG_PAIRS ? 2 : 1;
    if (x->storage == DG_SPARSE)
        memset(words, 0, (size_t)n_words * sizeof *words);
    else
        memset((char *)words + (size_t)size * width, 0,
               (size_t)n_words * sizeof *words - (size_t)size * width);
    if (x->storage == DG_SPARSE) {
        for (int64_t e = x->start[row]; e < x->start[row + 1]; e++) {
            int state = whole(((const float *)x->data)[e], most);
            if (state < 0)
                return -1;
            put(layout, words, x->index[e], (uint8_t)state);
        }
    } else if (x->storage == DG_FLOATS) {
        const float *floats = (const float *)x->data + row * x->stride;
        for (ptrdiff_t j = 0; j < size; j++) {
            int state = whole(floats[j], most);
            if (state < 0)
                return -1;
            put(layout, words, j, (uint8_t)state);
        }
    } else {
        const uint8_t *bytes = (const uint8_t *)x->data + row * x->stride;
        if (layout == DG_PAIRS)
            widen(bytes, size, (uint16_t *)words);
        else
            memcpy(words, bytes, (size_t)size);
    }
    return count_words(words, n_words);
}

DG_CLONES
void dg_word_nibbles(const uint32_t *words, ptrdiff_t n_words, uint8_t *nibbles)
{
    for (ptrdiff_t g = 0; g < n_words / 2; g++) {
        uint32_t first = words[2 * g], second = words[2 * g + 1];
        nibbles[g] = (uint8_t)((first & 1) | (first >> 15 & 2) | (second & 1) << 2 |
                               (second >> 16 & 1) << 3);
    }
}

ptrdiff_t dg_word_places(const uint32_t *words, ptrdiff_t n_words, uint32_t mask, int32_t *index)
{
    ptrdiff_t n = 0;
    for (ptrdiff_t w = 0; w < n_words; w++) { /* no branch: data are hard to predict */
        index[n] = (int32_t)w;
        n += (words[w] & mask) != 0;
    }
    return n;
}

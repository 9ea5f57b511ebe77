/* Sums over rows of products of bytes, exact: what the states of two neighbouring layers give to
 * the gradient of the weights between them,
 *
 *     sum_r x[r, i] y[r, c]          x lower, y upper; states, or means in steps of their unit
 *
 * In words: a product of fixed_point.h whose inputs are rows. A word of inputs holds one lower unit
 * in `group` neighbouring rows, a word of numbers one upper unit in the same ones. Numbers are
 * bytes, so QUADS have their low plane alone.
 *
 * Along lists: where few lower units are on, lines of upper units are added, 16 bits each. */
#ifndef DEEPGEN_BYTE_SUMS_H
#define DEEPGEN_BYTE_SUMS_H

#include "fixed_point.h"

/* Whether a pair of neighbouring layers is summed so. */
static inline int dg_are_bytes(const struct rows *lower, const struct rows *upper)
{
    return lower->storage == DG_BYTES && upper->storage == DG_BYTES;
}

/* Word w of every tile of `size` upper units, from the rows first .. first + n_rows - 1; the tiles
 * lie dg_n_words(layout, n_rows) * DG_TILE words apart. */
void dg_pack_bytes(int layout, const struct rows *y, ptrdiff_t size, ptrdiff_t first,
                   ptrdiff_t n_rows, ptrdiff_t w, uint32_t *tiles);

/* `width` <= DG_TILE lower units from `column` on as inputs, in `words` and, where lists are
 * faster, `places` and `n_places`: room for dg_n_words words of each unit. */
struct dg_inputs dg_turn_bytes(const struct dg_fixed *fixed, const struct rows *x,
                               ptrdiff_t first, ptrdiff_t n_rows, ptrdiff_t column,
                               ptrdiff_t width, uint32_t *words, int32_t *places,
                               int32_t *n_places);

/* So many bytes have a sum of 16 bits, whatever they are: 257 * 255 = 65,535. */
#define DG_BYTES_OF_16 257

/* Above this share of lower units that are on, words are faster. */
#define DG_LINE_DENSITY 0.30

/* Whether the sums of a phase go along lists: states 0 and 1, few of them 1. */
int dg_sums_along_lists(const struct dg_fixed *fixed, const struct rows *x, ptrdiff_t size);

/* Row `first + at` of `size` upper units as line `at` of tiles (n_tiles, n_rows, DG_TILE). */
void dg_pack_line(const struct rows *y, ptrdiff_t size, ptrdiff_t first, ptrdiff_t n_rows,
                  ptrdiff_t at, uint16_t *tiles);

/* The rows in which each of `width` lower units from `column` on is on: index[i * n_rows + e].
 * words (n_rows,): scratch, the units of each row as bits. */
void dg_list_rows(const struct dg_fixed *fixed, const struct rows *x, ptrdiff_t first,
                  ptrdiff_t n_rows, ptrdiff_t column, ptrdiff_t width, uint32_t *words,
                  int32_t *index, int32_t *length);

/* acc[i, c] = sum_e tile[index[i, e], c], e < length[i]: the sum of the lines of a tile along the
 * list of unit i. index (width, n_rows), tile (n_rows, DG_TILE), acc (width, DG_TILE). Sums are
 * kept in 16 bits for DG_BYTES_OF_16 lines, then added to those of 32. */
void dg_sum_lines(const int32_t *index, const int32_t *length, ptrdiff_t n_rows, ptrdiff_t width,
                  const uint16_t *tile, int32_t *acc);

/* The largest of n bytes, 0 of none. */
int dg_largest_byte(const uint8_t *values, ptrdiff_t n);

/* out[i] = values[i] / unit to the nearest whole number; returns whether one is not from 0 to 255
 * units, or not a number. */
int dg_to_bytes(const float *values, ptrdiff_t n, float per_unit, uint8_t *out);

#endif

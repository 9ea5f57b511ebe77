/* Sums of products of bytes, as whole numbers; what the functions do stands in byte_sums.h. */
#include "byte_sums.h"

#include <string.h>

#include "parallel.h"

/* DG_TILE neighbouring columns of `group` rows as words; rows that are NULL are zero. */
DG_CLONES
static void words_of(int layout, const uint8_t *const rows[4], ptrdiff_t width, uint32_t *words)
{
    uint8_t lines[4][DG_TILE] = {{0}};
    for (int i = 0; i < 4; i++)
        if (rows[i])
            memcpy(lines[i], rows[i], (size_t)width);
    if (layout == DG_PAIRS)
        for (int c = 0; c < DG_TILE; c++)
            words[c] = (uint32_t)lines[0][c] | (uint32_t)lines[1][c] << 16;
    else
        for (int c = 0; c < DG_TILE; c++)
            words[c] = (uint32_t)lines[0][c] | (uint32_t)lines[1][c] << 8 |
                       (uint32_t)lines[2][c] << 16 | (uint32_t)lines[3][c] << 24;
}

/* Word w of DG_TILE columns from `column` on: `group` neighbouring rows of each column, zero beyond
 * the last row and the last column. */
static void word_at(int layout, const struct rows *x, ptrdiff_t first, ptrdiff_t n_rows,
                    ptrdiff_t column, ptrdiff_t width, ptrdiff_t w, uint32_t *words)
{
    const uint8_t *rows[4] = {NULL, NULL, NULL, NULL};
    ptrdiff_t group = dg_word_inputs(layout), row = w * group;
    for (ptrdiff_t i = 0; i < group && row + i < n_rows; i++)
        rows[i] = (const uint8_t *)x->data + (first + row + i) * x->stride + column;
    words_of(layout, rows, width, words);
}

void dg_pack_bytes(int layout, const struct rows *y, ptrdiff_t size, ptrdiff_t first,
                   ptrdiff_t n_rows, ptrdiff_t w, uint32_t *tiles)
{
    ptrdiff_t n_words = dg_n_words(layout, n_rows);
    for (ptrdiff_t column = 0; column < size; column += DG_TILE) {
        uint32_t *words = tiles + (column / DG_TILE * n_words + w) * DG_TILE;
        word_at(layout, y, first, n_rows, column, dg_min(DG_TILE, size - column), w, words);
        if (layout == DG_SIGNED_QUADS)
            for (int c = 0; c < DG_TILE; c++)
                words[c] ^= DG_SHIFT_BYTES;
    }
}

struct dg_inputs dg_turn_bytes(const struct dg_fixed *fixed, const struct rows *x,
                               ptrdiff_t first, ptrdiff_t n_rows, ptrdiff_t column,
                               ptrdiff_t width, uint32_t *words, int32_t *places,
                               int32_t *n_places)
{
    ptrdiff_t n_words = dg_n_words(fixed->sums_layout, n_rows), filled = 0;
    struct dg_inputs inputs = {n_words, n_words, words, NULL, NULL, NULL};
    for (ptrdiff_t w = 0; w < n_words; w++) {
        uint32_t one[DG_TILE];
        word_at(fixed->sums_layout, x, first, n_rows, column, width, w, one);
        for (ptrdiff_t i = 0; i < width; i++) {
            words[i * n_words + w] = one[i];
            filled += one[i] != 0;
        }
    }
    if ((float)filled >= fixed->sums_list_density * (float)(width * n_words))
        return inputs;
    for (ptrdiff_t i = 0; i < width; i++)
        n_places[i] =
            (int32_t)fixed->places(words + i * n_words, n_words, ~0u, places + i * n_words);
    inputs.index = places;
    inputs.length = n_places;
    return inputs;
}

/* on += how many of n states are not 0; largest: INOUT, the largest state so far. */
DG_CLONES
static void count_states(const uint8_t *x, ptrdiff_t n, int64_t *on, uint8_t *largest)
{
    int32_t count = 0;
    uint8_t most = 0;
    for (ptrdiff_t j = 0; j < n; j++) {
        count += x[j] != 0;
        most = x[j] > most ? x[j] : most;
    }
    *on += count;
    *largest = most > *largest ? most : *largest;
}

int dg_sums_along_lists(const struct dg_fixed *fixed, const struct rows *x, ptrdiff_t size)
{
    int64_t on = 0;
    uint8_t largest = 0;
    if (fixed->sums_list_density == 0.0f || x->storage != DG_BYTES)
        return 0;
    for (ptrdiff_t r = 0; r < x->n_rows; r++)
        count_states((const uint8_t *)x->data + r * x->stride, size, &on, &largest);
    return largest <= 1 && (double)on < DG_LINE_DENSITY * (double)(x->n_rows * size);
}

DG_CLONES
void dg_pack_line(const struct rows *y, ptrdiff_t size, ptrdiff_t first, ptrdiff_t n_rows,
                  ptrdiff_t at, uint16_t *tiles)
{
    const uint8_t *bytes = (const uint8_t *)y->data + (first + at) * y->stride;
    for (ptrdiff_t column = 0; column < size; column += DG_TILE) {
        uint16_t *line = tiles + (column / DG_TILE * n_rows + at) * DG_TILE;
        ptrdiff_t width = dg_min(DG_TILE, size - column);
        if (width == DG_TILE)
            for (int c = 0; c < DG_TILE; c++)
                line[c] = bytes[column + c];
        else
            for (int c = 0; c < DG_TILE; c++)
                line[c] = c < width ? bytes[column + c] : 0;
    }
}

_Static_assert(DG_TILE == 32, "a tile's bits are a uint32_t");

/* Bit i is byte i of DG_TILE, each 0 or 1. A product puts byte i of eight at bit 56 + i. */
static uint32_t bits_of(const uint8_t *bytes)
{
    uint32_t bits = 0;
    for (int i = 0; i < DG_TILE; i += 8) {
        uint64_t eight = 0;
        for (int j = 0; j < 8; j++)
            eight |= (uint64_t)bytes[i + j] << 8 * j;
        bits |= (uint32_t)(eight * 0x0102040810204080u >> 56) << i;
    }
    return bits;
}

void dg_list_rows(const struct dg_fixed *fixed, const struct rows *x, ptrdiff_t first,
                  ptrdiff_t n_rows, ptrdiff_t column, ptrdiff_t width, uint32_t *words,
                  int32_t *index, int32_t *length)
{
    for (ptrdiff_t r = 0; r < n_rows; r++) {
        const uint8_t *bytes = (const uint8_t *)x->data + (first + r) * x->stride + column;
        uint8_t padded[DG_TILE] = {0};
        if (width < DG_TILE) {
            memcpy(padded, bytes, (size_t)width);
            bytes = padded;
        }
        words[r] = bits_of(bytes);
    }
    for (ptrdiff_t i = 0; i < width; i++)
        length[i] = (int32_t)fixed->places(words, n_rows, 1u << i, index + i * n_rows);
}

typedef uint16_t line_part __attribute__((vector_size(32), aligned(2)));
#define PARTS (DG_TILE / 16)

DG_CLONES
void dg_sum_lines(const int32_t *index, const int32_t *length, ptrdiff_t n_rows, ptrdiff_t width,
                  const uint16_t *tile, int32_t *acc)
{
    for (ptrdiff_t i = 0; i < width; i++) {
        int32_t *sums = acc + i * DG_TILE;
        const int32_t *rows = index + i * n_rows;
        ptrdiff_t start = 0;
        do { /* also without rows: sums are zero */
            ptrdiff_t n = dg_min(DG_BYTES_OF_16, length[i] - start);
            line_part part[PARTS] = {{0}};
            uint16_t lines[DG_TILE];
            for (ptrdiff_t e = 0; e < n; e++)
                for (int p = 0; p < PARTS; p++)
                    part[p] += *(const line_part *)(tile + (ptrdiff_t)rows[start + e] * DG_TILE +
                                                   16 * p);
            memcpy(lines, part, sizeof lines);
            if (start == 0)
                for (int c = 0; c < DG_TILE; c++)
                    sums[c] = lines[c];
            else
                for (int c = 0; c < DG_TILE; c++)
                    sums[c] += lines[c];
            start += DG_BYTES_OF_16;
        } while (start < length[i]);
    }
}

DG_CLONES
int dg_largest_byte(const uint8_t *values, ptrdiff_t n)
{
    uint8_t largest = 0;
    for (ptrdiff_t i = 0; i < n; i++)
        largest = values[i] > largest ? values[i] : largest;
    return largest;
}

DG_CLONES
int dg_to_bytes(const float *values, ptrdiff_t n, float per_unit, uint8_t *out)
{
    DG_FLUSH;
    int32_t beyond = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        float step = values[i] * per_unit + 0.5f;
        int inside = step >= 0.0f && step < 256.0f;
        beyond |= !inside; /* not a number, say */
        out[i] = inside ? (uint8_t)(int)step : 0;
    }
    return beyond;
}

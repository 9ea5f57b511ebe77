/* Sums over the rows, and over the columns, of one layer. */
#include "byte_sums.h"
#include "parallel.h"
#include "phases.h"

#define SUM_BLOCK 64

/* What is summed for one block of columns; as many as there are, the rest stays zero. */
struct sums {
    double total[SUM_BLOCK], square[SUM_BLOCK], weighted[SUM_BLOCK];
};

/* Sums over all rows for n columns from `first` on, in row order. Row by row the values are spread
 * into a block of constant length, zero beyond n, so that every loop over it vectorizes. */
DG_CLONES
static void sum_block(const struct rows *x, ptrdiff_t first, ptrdiff_t n, int squares,
                      const double *factor, struct sums *sums)
{
    double values[SUM_BLOCK] = {0.0};
    for (ptrdiff_t r = 0; r < x->n_rows; r++) {
        if (x->storage == DG_BYTES) {
            const uint8_t *bytes = (const uint8_t *)x->data + r * x->stride + first;
            for (ptrdiff_t j = 0; j < n; j++)
                values[j] = (double)(x->unit * (float)bytes[j]);
        } else {
            const float *floats = (const float *)x->data + r * x->stride + first;
            for (ptrdiff_t j = 0; j < n; j++)
                values[j] = (double)floats[j];
        }
        for (int j = 0; j < SUM_BLOCK; j++)
            sums->total[j] += values[j];
        if (squares)
            for (int j = 0; j < SUM_BLOCK; j++)
                sums->square[j] += values[j] * values[j];
        if (factor)
            for (int j = 0; j < SUM_BLOCK; j++)
                sums->weighted[j] += factor[r] * values[j];
    }
}

/* total[j] += unit * sum_r x[r, j] of bytes, for n columns from `first` on. Whole numbers: in 16
 * bits for as many rows as these hold, then in 64. Of states the same bits as sum_block gives. */
DG_CLONES
static void sum_bytes(const struct rows *x, ptrdiff_t first, ptrdiff_t n, double *total)
{
    uint64_t whole[SUM_BLOCK] = {0};
    for (ptrdiff_t start = 0; start < x->n_rows; start += DG_BYTES_OF_16) {
        uint16_t part[SUM_BLOCK] = {0};
        ptrdiff_t end = dg_min(start + DG_BYTES_OF_16, x->n_rows);
        for (ptrdiff_t r = start; r < end; r++) {
            const uint8_t *bytes = (const uint8_t *)x->data + r * x->stride + first;
            if (n == SUM_BLOCK)
                for (int j = 0; j < SUM_BLOCK; j++)
                    part[j] = (uint16_t)(part[j] + bytes[j]);
            else
                for (ptrdiff_t j = 0; j < n; j++)
                    part[j] = (uint16_t)(part[j] + bytes[j]);
        }
        for (int j = 0; j < SUM_BLOCK; j++)
            whole[j] += part[j];
    }
    for (ptrdiff_t j = 0; j < n; j++)
        total[j] += (double)x->unit * (double)whole[j];
}

/* to[j] += from[j], where there is a `to`. */
static void add(double *to, const double *from, ptrdiff_t n)
{
    for (ptrdiff_t j = 0; to && j < n; j++)
        to[j] += from[j];
}

void dg_layer_sums(const struct rows *x, ptrdiff_t size, const double *factor, double *total,
                   double *square, double *weighted, int n_threads)
{
    if (x->storage == DG_SPARSE) { /* on one thread: an entry's column belongs to no one block */
        DG_FLUSH;
        for (ptrdiff_t r = 0; r < x->n_rows; r++)
            for (int64_t e = x->start[r]; e < x->start[r + 1]; e++) {
                ptrdiff_t j = x->index[e];
                double v = (double)((const float *)x->data)[e];
                total[j] += v;
                if (square)
                    square[j] += v * v;
                if (factor)
                    weighted[j] += factor[r] * v;
            }
        return;
    }
    DG_OMP(omp parallel for num_threads(n_threads) if (n_threads > 1) schedule(static))
    for (ptrdiff_t j = 0; j < size; j += SUM_BLOCK) {
        DG_FLUSH;
        struct sums sums = {{0.0}};
        ptrdiff_t n = dg_min(SUM_BLOCK, size - j);
        if (x->storage == DG_BYTES && !square && !factor) {
            sum_bytes(x, j, n, total + j);
            continue;
        }
        sum_block(x, j, n, square != NULL, factor, &sums);
        add(total + j, sums.total, n);
        add(square ? square + j : NULL, sums.square, n);
        add(factor ? weighted + j : NULL, sums.weighted, n);
    }
}

/* sum_j x[row, j] offset[j], in float64. Column j adds to lane j % 8, and the lanes are added at
 * the end: whatever the storage, the same order and so the same bits. */
DG_CLONES
static double row_dot(const struct rows *x, ptrdiff_t row, ptrdiff_t size, const float *offset)
{
    double lanes[8] = {0.0};
    if (x->storage == DG_SPARSE) {
        for (int64_t e = x->start[row]; e < x->start[row + 1]; e++)
            lanes[x->index[e] % 8] +=
                (double)((const float *)x->data)[e] * (double)offset[x->index[e]];
    } else if (x->storage == DG_BYTES) {
        const uint8_t *bytes = (const uint8_t *)x->data + row * x->stride;
        for (ptrdiff_t j = 0; j + 8 <= size; j += 8)
            for (int lane = 0; lane < 8; lane++)
                lanes[lane] += (double)(x->unit * (float)bytes[j + lane]) *
                               (double)offset[j + lane];
        for (ptrdiff_t j = size / 8 * 8; j < size; j++)
            lanes[j % 8] += (double)(x->unit * (float)bytes[j]) * (double)offset[j];
    } else {
        const float *floats = (const float *)x->data + row * x->stride;
        for (ptrdiff_t j = 0; j + 8 <= size; j += 8)
            for (int lane = 0; lane < 8; lane++)
                lanes[lane] += (double)floats[j + lane] * (double)offset[j + lane];
        for (ptrdiff_t j = size / 8 * 8; j < size; j++)
            lanes[j % 8] += (double)floats[j] * (double)offset[j];
    }
    return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
           ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

void dg_row_dot(const struct rows *x, ptrdiff_t size, const float *offset, double *out,
                int n_threads)
{
    DG_OMP(omp parallel for num_threads(n_threads) if (n_threads > 1) schedule(static))
    for (ptrdiff_t r = 0; r < x->n_rows; r++) {
        DG_FLUSH;
        out[r] = row_dot(x, r, size, offset);
    }
}

/* From the states of two phases to a gradient or an update: one visit to each weight tile. */
#ifndef DEEPGEN_PHASES_H
#define DEEPGEN_PHASES_H

#include "backend.h"

/* The pair of neighbouring layers in one phase: rows of the lower and of the upper layer. */
struct dg_phase {
    struct rows lower, upper;
};

/* The packed form that follows the weights, and their layers. */
struct dg_repack {
    struct dg_packed *packed;
    const struct layer *lower, *upper;
};

/* The update of one weight matrix, (n_lower, n_upper), or its gradient:
 *
 *     gradient = x^T y / n (positive phase) - x^T y / m (negative phase) + rank-one terms - decay
 *
 * with x (rows, n_lower) and y (rows, n_upper) of n and m rows; struct dg_update has the rest, also
 * what the biases follow the weights by.
 * gradient: OUT where it is not NULL; weights may then be NULL, and there is no decay. Else
 * weights, velocity and average: INOUT, the last two may be NULL, and `repack`, if not NULL, is
 * packed anew from the new weights. Returns 1 where a weight became non-finite. Scratch:
 * dg_update_bytes(). */
int dg_update_weights(const struct dg_phase *positive, const struct dg_phase *negative,
                      ptrdiff_t n_lower, ptrdiff_t n_upper, const struct dg_update *update,
                      float *gradient, float *weights, float *velocity, float *average,
                      struct dg_repack *repack, void *scratch, int n_threads);

/* The same update from sums that are there: positive and negative hold x^T y of each phase, float32
 * (n_lower, n_upper). The rows that update->scale_... count may have been those of many processes.
 * Scratch: dg_update_bytes() of no rows. */
int dg_update_from_sums(const float *positive, const float *negative, ptrdiff_t n_lower,
                        ptrdiff_t n_upper, const struct dg_update *update, float *gradient,
                        float *weights, float *velocity, float *average,
                        struct dg_repack *repack, void *scratch, int n_threads);

/* Scratch of an update of this shape; also of `x^T y` alone (0 rows in the negative phase). */
size_t dg_update_bytes(ptrdiff_t n_positive, ptrdiff_t n_negative, ptrdiff_t n_lower,
                       ptrdiff_t n_upper, int n_threads);

/* Independent tasks that an update of this shape is cut into. */
ptrdiff_t dg_update_tasks(ptrdiff_t n_lower, ptrdiff_t n_upper, int n_threads);

/* Sums over rows, in float64, added to what the arrays (size,) hold:
 *
 *     total[j] += sum_r x[r, j]          square[j] += sum_r x[r, j]^2         (NULL: not wanted)
 *     weighted[j] += sum_r factor[r] x[r, j]                                  (NULL: not wanted)
 *
 * In row order, but for bytes whose total alone is wanted: those are whole numbers, times the
 * unit. */
void dg_layer_sums(const struct rows *x, ptrdiff_t size, const double *factor, double *total,
                   double *square, double *weighted, int n_threads);

/* out[r] = sum_j x[r, j] offset[j] */
void dg_row_dot(const struct rows *x, ptrdiff_t size, const float *offset, double *out,
                int n_threads);

#endif

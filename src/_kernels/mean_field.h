/* The mean-field fixed point of a chain of layers, row by row. */
#ifndef DEEPGEN_MEAN_FIELD_H
#define DEEPGEN_MEAN_FIELD_H

#include "chain.h"

/* How rows move, and when one has arrived. */
struct dg_fixed_point {
    ptrdiff_t max_sweeps;
    int first_parity; /* of the layers that a sweep begins with */
    int in_steps;     /* neighbours read a mean as a byte; every matrix has a packed form then */
    float tolerance;  /* largest change of a mean in one sweep, before damping */
    float damping;    /* share of the old mean that stays; the first sweep has none */
};

/* Gauss-Seidel sweeps, the layers of one parity and then the others, until every row has arrived.
 *
 * means[l]: INOUT, floats (n_rows, size), the start and the result. Entries that contexts[l] holds
 * stay; only bias rows and held entries of a context are read. sweeps, change: OUT, (n_rows,), how
 * many sweeps a row took and the largest change of its last one, before damping. A row that has
 * arrived is swept no more, so nothing about it depends on the rows beside it.
 * Scratch: dg_mean_field_bytes(), without in_steps also for the weights in the order of passes. */
void dg_mean_field(const struct chain *chain, struct rows *means, const struct context *contexts,
                   const struct dg_fixed_point *until, int32_t *sweeps, float *change,
                   ptrdiff_t n_rows, void *scratch, int n_threads);

size_t dg_mean_field_bytes(const struct chain *chain, ptrdiff_t n_rows, int in_steps,
                           int n_threads);

#endif

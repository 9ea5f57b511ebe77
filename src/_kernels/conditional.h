/* Conditional passes and Gibbs sweeps over a chain of layers. */
#ifndef DEEPGEN_CONDITIONAL_H
#define DEEPGEN_CONDITIONAL_H

#include "backend.h"

/* Update one layer given its neighbours: states[l - 1] and states[l + 1] are read where the
 * chain has them. `log_normalizer` (n_rows,) gets the sum over blocks where it is not NULL.
 * Scratch: dg_conditional_bytes(). */
void dg_conditional(const struct chain *chain, int l, const struct rows *states,
                    const struct context *context, const struct dg_stream *stream,
                    struct dg_outputs *out, double *log_normalizer, ptrdiff_t n_rows,
                    void *scratch, int n_threads);

/* Rows taken together: as many as make the inputs of a panel about 2^18 numbers. */
ptrdiff_t dg_panel_rows(const struct chain *chain, int l);

/* Independent tasks that a panel of a pass over so many rows is cut into. */
ptrdiff_t dg_conditional_tasks(const struct chain *chain, int l, ptrdiff_t n_rows, int n_threads);

size_t dg_conditional_bytes(const struct chain *chain, ptrdiff_t n_rows, int n_threads);

/* Sweeps: every free layer once, odd layers first, then even ones. `free_layers[l]` is 0 for a
 * clamped layer. The stream's step counts sweeps. */
void dg_gibbs(const struct chain *chain, const uint8_t *free_layers, struct rows *states,
              const struct context *contexts, const struct dg_stream *stream,
              ptrdiff_t n_sweeps, ptrdiff_t n_rows, void *scratch, int n_threads);

/* out[r] += sum_j x[r, j] (natural bias of unit j) + log base measure: the part of the log weight
 * of a configuration that belongs to one layer alone, at each row's temperature. */
void dg_layer_log_weight(const struct layer *layer, const struct rows *x,
                         const struct context *context, double *out, int n_threads);

#endif

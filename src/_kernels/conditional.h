/* Conditional passes and Gibbs sweeps over a chain of layers. */
#ifndef DEEPGEN_CONDITIONAL_H
#define DEEPGEN_CONDITIONAL_H

#include "backend.h"

/* One layer given its neighbours: x_l ~ p(x_l | x_(l-1), x_(l+1)), its mean, its log normalizer.
 *
 * states[l - 1] and states[l + 1], (n_rows, size) each, are read where the chain has such layers;
 * states[l] is not. `out` says what is written. log_normalizer, (n_rows,): INOUT, += the sum over
 * the layer's units, or NULL. Scratch: dg_conditional_bytes(). */
void dg_conditional(const struct chain *chain, int l, const struct rows *states,
                    const struct context *context, const struct dg_stream *stream,
                    struct dg_outputs *out, double *log_normalizer, ptrdiff_t n_rows,
                    void *scratch, int n_threads);

/* Rows taken together: as many as make the inputs of a panel about 2^18 numbers. */
ptrdiff_t dg_panel_rows(const struct chain *chain, int l);

/* Independent tasks that a panel of a pass over so many rows is cut into. */
ptrdiff_t dg_conditional_tasks(const struct chain *chain, int l, ptrdiff_t n_rows, int n_threads);

/* Scratch that a pass over any layer of the chain needs. */
size_t dg_conditional_bytes(const struct chain *chain, ptrdiff_t n_rows, int n_threads);

/* What passes over layer l read of the matrix between it and the layer below (side 0) or above (1),
 * for calls that pass over l again and again: all tiles of DG_TILE columns of l, each a line for
 * each unit of the neighbour. out: OUT, dg_tiles_floats() floats, which are 0 where tiles are of no
 * use: there is no such neighbour, or l is a mixed layer. */
size_t dg_tiles_floats(const struct chain *chain, int l, int side);
void dg_fill_tiles(const struct chain *chain, int l, int side, float *out, int n_threads);

/* Gibbs sweeps, states: INOUT. In each sweep every free layer is drawn once given its neighbours:
 * the odd layers, which are independent given the even ones, then the even ones. `free_layers[l]`
 * is 0 for a clamped layer. The stream's step counts sweeps, its purpose gets the layer. */
void dg_gibbs(const struct chain *chain, const uint8_t *free_layers, struct rows *states,
              const struct context *contexts, const struct dg_stream *stream,
              ptrdiff_t n_sweeps, ptrdiff_t n_rows, void *scratch, int n_threads);

/* out[r] += sum_j x[r, j] (natural bias of unit j) + log base measure: the part of the log weight
 * of a joint configuration that belongs to one layer alone, at each row's temperature. */
void dg_layer_log_weight(const struct layer *layer, const struct rows *x,
                         const struct context *context, double *out, int n_threads);

#endif

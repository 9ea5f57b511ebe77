/* Whole updates of a machine of two layers: both phases, the step, the biases, several in a call.
 *
 * The kernels are those that Python calls one by one for other runs, and what stands between them
 * is what NumPy does there, in the same arithmetic: so the bits are the same
 * (docs/math.md, "One update"; docs/kernels.md, "Whole updates"). */
#ifndef DEEPGEN_UPDATES_H
#define DEEPGEN_UPDATES_H

#include "conditional.h"
#include "phases.h"

/* What stays the same in a run. Both layers have states in bytes, the weights a packed form. */
struct dg_run {
    const struct chain *chain;
    struct dg_repack repack;
    float *weights, *bias[2];  /* INOUT */
    float mean_steps, mean_unit; /* of upper means as bytes: steps of a mean of 1, and one step */
    int persistent;            /* PCD: the negative phase goes on from particles; CD: from the rows */
    int n_sweeps;
    uint64_t data_key;         /* CD: of the first draw given the data */
    const uint64_t *sweep_keys; /* (n_sweeps,) */
    uint32_t purpose[2];       /* of draws of either layer */
    double offset_rate;        /* of the upper offset */
    double weight_rate;        /* factor on the rate of the weights, and of what biases follow */
    float momentum, weight_decay;
};

/* The rows of some updates: those of `states` that `chosen` names, n_chosen in all and batch_size
 * to an update, fewer in the last one. chosen NULL: one update, of all rows as they are. */
struct dg_batches {
    struct rows states;
    const int64_t *chosen;
    ptrdiff_t n_chosen, batch_size;
    int64_t first_row;         /* of the draws of CD */
};

/* What moves beside the parameters; NULL where a run has no such thing. */
struct dg_moving {
    float *velocity[3], *average[3]; /* INOUT: of the weights, the lower and the upper bias */
    const float *offset_lower;
    float *offset_upper;             /* INOUT */
    ptrdiff_t n_particles;
    int64_t first_particle;          /* of the draws of PCD */
    const uint8_t *from_upper;       /* upper states where the particles are */
    uint8_t *lower, *upper;          /* OUT: where they go; not the same arrays */
};

/* Threads by kind of work. */
struct dg_update_threads {
    int up, down, again, sums, weights; /* `again`: means of the negative phase */
};

enum dg_made { DG_MADE = 0, DG_NOT_FINITE = 1, DG_NO_STATE = 2 };

/* Make the updates of `batches`, the first one at step `position` of the random streams, with a
 * rate and a weight of the average, (n_updates,), for each. `made`: OUT, how many are made. Returns
 * why no more: all are; a parameter of the last one is not finite; a chosen row of the next one
 * holds a number that is no state. Scratch: dg_update_run_bytes(). */
enum dg_made dg_make_updates(const struct dg_run *run, const struct dg_batches *batches,
                             const struct dg_moving *moving, const double *rates,
                             const double *averaging, uint64_t position,
                             const struct dg_update_threads *threads, void *scratch,
                             ptrdiff_t *made);

size_t dg_update_run_bytes(const struct dg_run *run, const struct dg_batches *batches,
                           ptrdiff_t n_particles, const struct dg_update_threads *threads);

#endif

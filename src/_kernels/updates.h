/* Whole updates of a machine: both phases, the step, the biases, several in a call.
 *
 * The kernels are those that Python calls one by one for other runs, and what stands between them
 * is what NumPy does there, in the same arithmetic: so the bits are the same
 * (docs/math.md, "One update"; docs/kernels.md, "Whole updates"). */
#ifndef DEEPGEN_UPDATES_H
#define DEEPGEN_UPDATES_H

#include "conditional.h"
#include "mean_field.h"
#include "phases.h"

/* What stays the same in a run. All layers have states in bytes, all weights a packed form. */
struct dg_run {
    const struct chain *chain;
    struct dg_repack repack[DG_MAX_LAYERS];  /* by matrix, as all that has to do with weights */
    float *weights[DG_MAX_LAYERS], *bias[DG_MAX_LAYERS]; /* INOUT */
    float mean_steps[DG_MAX_LAYERS], mean_unit[DG_MAX_LAYERS]; /* of means of layers above the
                                * first as bytes: steps of a mean of 1, and one step */
    struct dg_fixed_point until; /* of the positive phase, where there are three layers or more */
    int persistent;            /* the negative phase goes on from particles; else (CD, two layers)
                                * it begins at the rows */
    int n_sweeps;
    uint64_t data_key;         /* CD: of the first draw given the data */
    const uint64_t *sweep_keys; /* (n_sweeps,) */
    uint32_t purpose[DG_MAX_LAYERS]; /* of draws, by layer */
    double offset_rate;        /* of the offsets above the first layer's */
    double weight_rate[DG_MAX_LAYERS]; /* factor on the rate of weights, and of what biases follow */
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

/* The arrays that a step moves, or keeps beside them; NULL where a run has no such thing. */
struct dg_step_arrays {
    float *weights[DG_MAX_LAYERS], *bias[DG_MAX_LAYERS];
};

/* What moves beside the parameters; NULL where a run has no such thing. */
struct dg_moving {
    struct dg_step_arrays velocity, average; /* INOUT */
    float *offset[DG_MAX_LAYERS];    /* INOUT, but for the first layer's, which stays */
    ptrdiff_t n_particles;
    int64_t first_particle;          /* of the draws of particles */
    const uint8_t *from[DG_MAX_LAYERS]; /* states of the particles: those of odd layers are read */
    uint8_t *to[DG_MAX_LAYERS];      /* OUT: where all of them go; not the same arrays */
};

/* Threads by kind of work: passes of the rows and of the negative phase over each layer, sweeps of
 * mean field, sums over rows, visits of each matrix. */
struct dg_update_threads {
    int data[DG_MAX_LAYERS], model[DG_MAX_LAYERS], mean_field, sums, weights[DG_MAX_LAYERS];
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

/* An update, step by step; x+, y+ are the states of both layers under the data, x-, y- under the
 * model, and n and m their numbers of rows:
 *
 *     gather      x+ = the rows of the batch                                      (chosen rows)
 *     up          y+ = E[y | x+];  CD: also a draw, where the chain of the negative phase begins
 *     sweeps      x- ~ p(x | y), then y ~ p(y | x-); last y- = E[y | x-], PCD: with a draw
 *     in steps    y+ and y- as bytes
 *     sums        dx = mean(x+) - mean(x-), dy = mean(y+) - mean(y-); the upper offset's next place
 *     weights     dg_update_weights: statistics, step, packed form, follow sums
 *     biases      b <- b + rate (dx - follow sum), by way of velocity and average
 *
 * Upper means that do not fit into bytes (a run that diverges) stay floats, as in Python. */
#include "updates.h"

#include <math.h>
#include <string.h>

#include "byte_sums.h"
#include "parallel.h"

/* Arrays of one update. */
struct update_buffers {
    uint8_t *gathered;        /* (n, lower) */
    uint8_t *lower, *upper;   /* CD: (n, lower) and (n, upper), the chain of the negative phase */
    float *means[2];          /* (n, upper), (m, upper): of both phases */
    uint8_t *steps[2];        /* the same in bytes */
    double *totals[2];        /* (lower + upper,): sums over rows, then means */
    double *difference;
    float *rounded, *follow;  /* (lower + upper,) */
    void *scratch;            /* of the kernels */
};

static size_t most_of(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Take the arrays, or count them (see dg_arena). n, m: rows of the phases. */
static void take_buffers(struct update_buffers *b, struct dg_arena *arena,
                         const struct dg_run *run, int gathers, ptrdiff_t n, ptrdiff_t m,
                         const struct dg_update_threads *threads)
{
    size_t n_lower = (size_t)run->chain->layers[0].size, n_upper = (size_t)run->chain->layers[1].size;
    size_t units = n_lower + n_upper, rows[2] = {(size_t)n, (size_t)m};
    b->gathered = gathers ? dg_take(arena, rows[0] * n_lower) : NULL;
    b->lower = b->upper = NULL;
    if (!run->persistent) {
        b->lower = dg_take(arena, rows[0] * n_lower);
        b->upper = dg_take(arena, rows[0] * n_upper);
    }
    for (int side = 0; side < 2; side++) {
        b->means[side] = dg_take(arena, rows[side] * n_upper * sizeof(float));
        b->steps[side] = dg_take(arena, rows[side] * n_upper);
        b->totals[side] = dg_take(arena, units * sizeof(double));
    }
    b->difference = dg_take(arena, units * sizeof(double));
    b->rounded = dg_take(arena, units * sizeof(float));
    b->follow = dg_take(arena, units * sizeof(float));
    size_t most = dg_conditional_bytes(run->chain, n, threads->up);
    most = most_of(most, dg_conditional_bytes(run->chain, m, threads->down));
    most = most_of(most, dg_conditional_bytes(run->chain, m, threads->again));
    most = most_of(most, dg_update_bytes(n, m, (ptrdiff_t)n_lower, (ptrdiff_t)n_upper,
                                         threads->weights));
    b->scratch = dg_take(arena, most);
}

/* Rows of the longest update. */
static ptrdiff_t most_rows(const struct dg_batches *batches)
{
    return batches->chosen ? dg_min(batches->batch_size, batches->n_chosen)
                           : batches->states.n_rows;
}

size_t dg_update_run_bytes(const struct dg_run *run, const struct dg_batches *batches,
                           ptrdiff_t n_particles, const struct dg_update_threads *threads)
{
    struct update_buffers buffers;
    struct dg_arena arena = {NULL, 0};
    ptrdiff_t n = most_rows(batches);
    take_buffers(&buffers, &arena, run, batches->chosen != NULL, n,
                 run->persistent ? n_particles : n, threads);
    return arena.used + 64;
}

/* Copy n chosen rows of bytes; returns the largest byte. */
DG_CLONES
static int gather(const struct rows *from, const int64_t *chosen, ptrdiff_t n, ptrdiff_t size,
                  uint8_t *out)
{
    uint8_t largest = 0;
    for (ptrdiff_t r = 0; r < n; r++) {
        const uint8_t *row = (const uint8_t *)from->data + chosen[r] * from->stride;
        for (ptrdiff_t j = 0; j < size; j++) {
            out[r * size + j] = row[j];
            largest = row[j] > largest ? row[j] : largest;
        }
    }
    return largest;
}

static struct rows bytes_of(const uint8_t *data, ptrdiff_t n_rows, ptrdiff_t size)
{
    return (struct rows){DG_BYTES, 1.0f, n_rows, size, data, NULL, NULL};
}

/* Means in steps, or as they are where one does not fit. */
static struct rows in_steps(const struct dg_run *run, const float *means, uint8_t *steps,
                            ptrdiff_t n_rows, ptrdiff_t size)
{
    struct rows rows = bytes_of(steps, n_rows, size);
    rows.unit = run->mean_unit;
    if (dg_to_bytes(means, n_rows * size, run->mean_steps, steps)) {
        rows.storage = DG_FLOATS;
        rows.unit = 1.0f;
        rows.data = means;
    }
    return rows;
}

/* One layer given the other; mean, sample: OUT, or NULL. */
static void pass(const struct dg_run *run, int l, const struct rows *given, uint64_t key,
                 uint64_t step, int64_t first_row, float *mean, uint8_t *sample, void *scratch,
                 int n_threads)
{
    static const struct context nothing = {0};
    const struct dg_stream stream = {key, step, first_row, run->purpose[l]};
    struct dg_outputs out = {mean, sample, NULL, NULL};
    struct rows states[2];
    states[1 - l] = *given;
    dg_conditional(run->chain, l, states, &nothing, &stream, &out, NULL, given->n_rows, scratch,
                   n_threads);
}

/* mean(x) of both layers of a phase, over its rows. */
static void phase_means(const struct dg_phase *phase, ptrdiff_t n_lower, ptrdiff_t n_upper,
                        double *means, int n_threads)
{
    ptrdiff_t n_rows = phase->lower.n_rows;
    memset(means, 0, (size_t)(n_lower + n_upper) * sizeof *means);
    dg_layer_sums(&phase->lower, n_lower, NULL, means, NULL, NULL, n_threads);
    dg_layer_sums(&phase->upper, n_upper, NULL, means + n_lower, NULL, NULL, n_threads);
    for (ptrdiff_t j = 0; j < n_lower + n_upper; j++)
        means[j] /= (double)n_rows;
}

/* The step of a bias from the means' difference, and what it follows the weights by (NULL: by
 * nothing). Returns whether a value is not finite. */
DG_CLONES
static int step_bias(const struct dg_run *run, ptrdiff_t size, const double *difference,
                     const float *follow, float rate, float averaging, float *bias,
                     float *velocity, float *average)
{
    const float weight_rate = (float)run->weight_rate;
    int bad = 0;
    for (ptrdiff_t j = 0; j < size; j++) {
        double gradient = difference[j];
        if (follow)
            gradient -= (double)(weight_rate * follow[j]);
        float change = (float)gradient;
        if (velocity) {
            change = velocity[j] * run->momentum + change;
            velocity[j] = change;
        }
        bias[j] += rate * change;
        if (average)
            average[j] += averaging * (bias[j] - average[j]);
        bad |= !isfinite(bias[j]);
    }
    return bad;
}

/* Both phases of one update. x: the rows under the data. */
static void make_phases(const struct dg_run *run, const struct dg_batches *batches,
                        const struct dg_moving *moving, const struct rows *x,
                        const uint8_t *from_upper, uint64_t step,
                        const struct dg_update_threads *threads, const struct update_buffers *b,
                        struct dg_phase phases[2])
{
    ptrdiff_t n_lower = run->chain->layers[0].size, n_upper = run->chain->layers[1].size;
    ptrdiff_t m = run->persistent ? moving->n_particles : x->n_rows;
    int64_t first_row = run->persistent ? moving->first_particle : batches->first_row;
    uint8_t *lower = run->persistent ? moving->lower : b->lower;
    uint8_t *upper = run->persistent ? moving->upper : b->upper;

    pass(run, 1, x, run->data_key, step, batches->first_row, b->means[0],
         run->persistent ? NULL : upper, b->scratch, threads->up);
    struct rows given = bytes_of(run->persistent ? from_upper : upper, m, n_upper);
    const struct rows drawn = bytes_of(lower, m, n_lower);
    for (int sweep = 0; sweep < run->n_sweeps; sweep++) {
        const int last = sweep == run->n_sweeps - 1;
        const uint64_t key = run->sweep_keys[sweep];
        pass(run, 0, &given, key, step, first_row, NULL, lower, b->scratch, threads->down);
        pass(run, 1, &drawn, key, step, first_row, last ? b->means[1] : NULL,
             last && !run->persistent ? NULL : upper, b->scratch, threads->again);
        given.data = upper;
    }
    phases[0] = (struct dg_phase){
        *x, in_steps(run, b->means[0], b->steps[0], x->n_rows, n_upper)};
    phases[1] = (struct dg_phase){drawn, in_steps(run, b->means[1], b->steps[1], m, n_upper)};
}

/* The step from both phases. Returns whether a parameter is no longer finite. */
static int step(const struct dg_run *run, const struct dg_moving *moving,
                const struct dg_phase phases[2], double rate, double averaging,
                const struct dg_update_threads *threads, const struct update_buffers *b)
{
    ptrdiff_t n_lower = run->chain->layers[0].size, n_upper = run->chain->layers[1].size;
    for (int side = 0; side < 2; side++)
        phase_means(&phases[side], n_lower, n_upper, b->totals[side], threads->sums);
    for (ptrdiff_t j = 0; j < n_lower + n_upper; j++) {
        b->difference[j] = b->totals[0][j] - b->totals[1][j];
        b->rounded[j] = (float)b->difference[j];
    }
    struct dg_update update = {0};
    update.scale_positive = (float)(1.0 / (double)phases[0].lower.n_rows);
    update.scale_negative = (float)(1.0 / (double)phases[1].lower.n_rows);
    update.learning_rate = (float)(run->weight_rate * rate);
    update.momentum = run->momentum;
    update.weight_decay = run->weight_decay;
    update.averaging = (float)averaging;
    if (moving->offset_upper) {
        update.offset_lower = moving->offset_lower;
        update.offset_upper = moving->offset_upper;
        update.difference_lower = b->rounded;
        update.difference_upper = b->rounded + n_lower;
        update.follow_lower = b->follow;
        update.follow_upper = b->follow + n_lower;
    }
    struct dg_repack repack = run->repack;
    int bad = dg_update_weights(&phases[0], &phases[1], n_lower, n_upper, &update, NULL,
                                run->weights, moving->velocity[0], moving->average[0], &repack,
                                b->scratch, threads->weights);
    for (int l = 0; l < 2; l++) {
        ptrdiff_t first = l ? n_lower : 0;
        bad |= step_bias(run, l ? n_upper : n_lower, b->difference + first,
                         moving->offset_upper ? b->follow + first : NULL, (float)rate,
                         (float)averaging, run->bias[l], moving->velocity[1 + l],
                         moving->average[1 + l]);
    }
    for (ptrdiff_t j = 0; moving->offset_upper && j < n_upper; j++) {
        double offset = (double)moving->offset_upper[j];
        double mean = b->totals[0][n_lower + j];
        moving->offset_upper[j] = (float)(offset + run->offset_rate * (mean - offset));
    }
    return bad;
}

enum dg_made dg_make_updates(const struct dg_run *run, const struct dg_batches *batches,
                             const struct dg_moving *moving, const double *rates,
                             const double *averaging, uint64_t position,
                             const struct dg_update_threads *threads, void *scratch,
                             ptrdiff_t *made)
{
    const struct layer *lower = &run->chain->layers[0];
    struct update_buffers buffers;
    struct dg_arena arena = {(char *)(((uintptr_t)scratch + 63) / 64 * 64), 0};
    ptrdiff_t n_rows = most_rows(batches), start = 0;
    take_buffers(&buffers, &arena, run, batches->chosen != NULL, n_rows,
                 run->persistent ? moving->n_particles : n_rows, threads);
    const uint8_t *from_upper = moving->from_upper;
    *made = 0;
    do {
        struct rows x = batches->states;
        if (batches->chosen) {
            ptrdiff_t n = dg_min(batches->batch_size, batches->n_chosen - start);
            if (gather(&batches->states, batches->chosen + start, n, lower->size,
                       buffers.gathered) > lower->n_copies)
                return DG_NO_STATE;
            x = bytes_of(buffers.gathered, n, lower->size);
            start += n;
        }
        struct dg_phase phases[2];
        make_phases(run, batches, moving, &x, from_upper, position + (uint64_t)*made, threads,
                    &buffers, phases);
        int bad = step(run, moving, phases, rates[*made], averaging[*made], threads, &buffers);
        from_upper = moving->upper;
        ++*made;
        if (bad)
            return DG_NOT_FINITE;
    } while (batches->chosen && start < batches->n_chosen);
    return DG_MADE;
}

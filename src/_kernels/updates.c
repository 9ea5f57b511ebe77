/* An update, step by step; x_l+ are the states of layer l under the data, x_l- under the model, and
 * n and m their numbers of rows:
 *
 *     gather      x_0+ = the rows of the batch                                    (chosen rows)
 *     posterior   two layers: x_1+ = E[x_1 | x_0+];  CD: also a draw, where the chain of the negative
 *                 phase begins. More of them: mean field
 *     sweeps      x_l- ~ p(x_l | neighbours), even layers and then odd ones; in the last sweep also
 *                 the means of the odd ones, which stand in the statistics
 *     in steps    means as bytes
 *     sums        dx_l = mean(x_l+) - mean(x_l-); the next places of the offsets
 *     weights     dg_update_weights: statistics, step, packed form, follow sums; one matrix after the
 *                 other
 *     biases      b <- b + rate (dx - follow sums), by way of velocity and average
 *
 * Means that do not fit into bytes (a run that diverges) stay floats, as in Python. */
#include "updates.h"

#include <math.h>
#include <string.h>

#include "byte_sums.h"
#include "parallel.h"

/* Arrays of one update, of each layer; n, m: rows of the phases. */
struct update_buffers {
    uint8_t *gathered;                    /* (n, size), of the first layer */
    uint8_t *chain[DG_MAX_LAYERS];        /* CD: (n, size), the chain of the negative phase */
    float *sent;                          /* (n, size) of layer 1: mean field */
    float *doubled;                       /* (n, widest): mean field */
    float *zeros;                         /* (size,) of layer 1: mean field */
    int32_t *n_sweeps;                    /* (n,): mean field */
    float *change;                        /* (n,): mean field */
    float *means[2][DG_MAX_LAYERS];       /* (n, size), (m, size): of both phases */
    uint8_t *steps[2][DG_MAX_LAYERS];     /* the same in bytes */
    double *totals[2][DG_MAX_LAYERS];     /* (size,): sums over rows, then means */
    double *difference[DG_MAX_LAYERS];    /* (size,) */
    float *rounded[DG_MAX_LAYERS];
    float *follow[2][DG_MAX_LAYERS];      /* (size,): of the matrix above the layer, and below */
    void *scratch;                        /* of the kernels */
};

/* States of all layers in one phase. */
struct phase_states {
    struct rows layer[DG_MAX_LAYERS];
};

static size_t most_of(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Layers `first` to `stop` - 1 of a chain; its arrays are the same. */
static struct chain part_of(const struct chain *chain, int first, int stop)
{
    struct chain part = {0};
    part.n_layers = stop - first;
    for (int l = first; l < stop; l++) {
        part.layers[l - first] = chain->layers[l];
        if (l + 1 < stop) {
            part.weights[l - first] = chain->weights[l];
            part.packed[l - first] = chain->packed[l];
        }
    }
    return part;
}

/* Take the arrays, or count them (see dg_arena). n, m: rows of the phases. */
static void take_buffers(struct update_buffers *b, struct dg_arena *arena,
                         const struct dg_run *run, int gathers, ptrdiff_t n, ptrdiff_t m,
                         const struct dg_update_threads *threads)
{
    const int n_layers = run->chain->n_layers;
    const struct layer *layers = run->chain->layers;
    const size_t rows[2] = {(size_t)n, (size_t)m};
    size_t widest = 0, most = 0;
    memset(b, 0, sizeof *b);
    if (gathers)
        b->gathered = dg_take(arena, rows[0] * (size_t)layers[0].size);
    for (int l = 0; l < n_layers; l++) {
        const size_t size = (size_t)layers[l].size;
        widest = most_of(widest, size);
        if (!run->persistent)
            b->chain[l] = dg_take(arena, rows[0] * size);
        for (int side = 0; side < 2; side++) {
            if (side ? l % 2 : l > 0) { /* elsewhere the states themselves stand in the sums */
                b->means[side][l] = dg_take(arena, rows[side] * size * sizeof(float));
                b->steps[side][l] = dg_take(arena, rows[side] * size);
            }
            b->totals[side][l] = dg_take(arena, size * sizeof(double));
            b->follow[side][l] = dg_take(arena, size * sizeof(float));
        }
        b->difference[l] = dg_take(arena, size * sizeof(double));
        b->rounded[l] = dg_take(arena, size * sizeof(float));
        most = most_of(most, dg_conditional_bytes(run->chain, n, threads->data[l]));
        most = most_of(most, dg_conditional_bytes(run->chain, m, threads->model[l]));
        if (l + 1 < n_layers)
            most = most_of(most, dg_update_bytes(n, m, layers[l].size, layers[l + 1].size,
                                                 threads->weights[l]));
    }
    if (n_layers > 2) {
        const struct chain hidden = part_of(run->chain, 1, n_layers);
        b->sent = dg_take(arena, rows[0] * (size_t)layers[1].size * sizeof(float));
        b->doubled = dg_take(arena, rows[0] * widest * sizeof(float));
        b->zeros = dg_take(arena, (size_t)layers[1].size * sizeof(float));
        b->n_sweeps = dg_take(arena, rows[0] * sizeof(int32_t));
        b->change = dg_take(arena, rows[0] * sizeof(float));
        most = most_of(most, dg_mean_field_bytes(&hidden, n, 1, threads->mean_field));
    }
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

/* Means of a layer in steps, or as they are where one does not fit. */
static struct rows in_steps(const struct dg_run *run, int l, const float *means, uint8_t *steps,
                            ptrdiff_t n_rows)
{
    const ptrdiff_t size = run->chain->layers[l].size;
    struct rows rows = bytes_of(steps, n_rows, size);
    rows.unit = run->mean_unit[l];
    if (dg_to_bytes(means, n_rows * size, run->mean_steps[l], steps)) {
        rows.storage = DG_FLOATS;
        rows.unit = 1.0f;
        rows.data = means;
    }
    return rows;
}

/* One layer of a chain given its neighbours; mean, sample: OUT, or NULL. */
static void pass(const struct chain *chain, int l, const struct rows *states,
                 const struct context *context, const struct dg_stream *stream, float *mean,
                 uint8_t *sample, ptrdiff_t n_rows, void *scratch, int n_threads)
{
    static const struct context nothing = {0};
    static const struct dg_stream no_stream = {0};
    struct dg_outputs out = {mean, sample, NULL, NULL};
    dg_conditional(chain, l, states, context ? context : &nothing, stream ? stream : &no_stream,
                   &out, NULL, n_rows, scratch, n_threads);
}

/* Means of the layers above the first, three or more, by mean field (deepgen.inference.mean_field):
 *
 *     sent     x_0 W_0, once: bias rows of layer 1 in all that follows
 *     start    from the bottom up, E[x_l | twice the layer below], once the layer below the last one
 *     sweeps   dg_mean_field over the hidden layers */
static void infer(const struct dg_run *run, const struct rows *x,
                  const struct dg_update_threads *threads, const struct update_buffers *b)
{
    const struct chain *chain = run->chain;
    const ptrdiff_t n = x->n_rows;
    const int n_layers = chain->n_layers;
    struct rows pair[2] = {*x, {0}}, means[DG_MAX_LAYERS];
    struct context contexts[DG_MAX_LAYERS] = {{0}};
    struct chain part = part_of(chain, 0, 2);
    memset(b->zeros, 0, (size_t)chain->layers[1].size * sizeof *b->zeros);
    part.layers[1] = (struct layer){0};
    part.layers[1].kind = DG_LINEAR;
    part.layers[1].n_copies = part.layers[1].group = 1;
    part.layers[1].size = chain->layers[1].size;
    part.layers[1].bias = b->zeros;
    pass(&part, 1, pair, NULL, NULL, b->sent, NULL, n, b->scratch, threads->data[1]);
    contexts[0].bias_rows = b->sent;
    for (int l = 1; l < n_layers; l++) {
        const ptrdiff_t size = chain->layers[l].size;
        part = part_of(chain, l - 1, l + 1);
        pass(&part, 1, pair, &contexts[l - 1], NULL, b->means[0][l], NULL, n, b->scratch,
             threads->data[l]);
        means[l - 1] = (struct rows){DG_FLOATS, 1.0f, n, size, b->means[0][l], NULL, NULL};
        pair[0] = in_steps(run, l, b->means[0][l], b->steps[0][l], n);
        if (l + 2 == n_layers)
            continue;
        if (pair[0].storage == DG_BYTES) {
            pair[0].unit *= 2.0f;
            continue;
        }
        for (ptrdiff_t i = 0; i < n * size; i++)
            b->doubled[i] = 2.0f * b->means[0][l][i];
        pair[0].data = b->doubled;
    }
    part = part_of(chain, 1, n_layers);
    dg_mean_field(&part, means, contexts, &run->until, b->n_sweeps, b->change, n, b->scratch,
                  threads->mean_field);
}

/* mean(x) over the rows of a layer. */
static void mean_of(const struct rows *x, ptrdiff_t size, double *means, int n_threads)
{
    memset(means, 0, (size_t)size * sizeof *means);
    dg_layer_sums(x, size, NULL, means, NULL, NULL, n_threads);
    for (ptrdiff_t j = 0; j < size; j++)
        means[j] /= (double)x->n_rows;
}

/* The step of the bias of layer l from the difference of its means and what it follows the weights
 * below and above by (NULL: by nothing). Returns whether a value is not finite. */
DG_CLONES
static int step_bias(const struct dg_run *run, int l, const struct update_buffers *b, int follows,
                     float rate, float averaging, float *velocity, float *average)
{
    const ptrdiff_t size = run->chain->layers[l].size;
    const float *below = follows && l > 0 ? b->follow[1][l] : NULL;
    const float *above = follows && l + 1 < run->chain->n_layers ? b->follow[0][l] : NULL;
    const float rate_below = l > 0 ? (float)run->weight_rate[l - 1] : 0.0f;
    const float rate_above = (float)run->weight_rate[l];
    float *bias = run->bias[l];
    int bad = 0;
    for (ptrdiff_t j = 0; j < size; j++) {
        double gradient = b->difference[l][j];
        if (below)
            gradient -= (double)(rate_below * below[j]);
        if (above)
            gradient -= (double)(rate_above * above[j]);
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

/* States under the data. x: the rows. */
static void positive_phase(const struct dg_run *run, const struct dg_batches *batches,
                           const struct rows *x, uint64_t step,
                           const struct dg_update_threads *threads,
                           const struct update_buffers *b, struct phase_states *positive)
{
    const struct chain *chain = run->chain;
    positive->layer[0] = *x;
    if (chain->n_layers == 2) {
        const struct dg_stream stream = {run->data_key, step, batches->first_row, run->purpose[1]};
        pass(chain, 1, positive->layer, NULL, &stream, b->means[0][1], b->chain[1], x->n_rows,
             b->scratch, threads->data[1]);
    } else {
        infer(run, x, threads, b);
    }
    for (int l = 1; l < chain->n_layers; l++)
        positive->layer[l] = in_steps(run, l, b->means[0][l], b->steps[0][l], x->n_rows);
}

/* States under the model: of even layers, and means of odd ones. from: states of odd layers that
 * the chains go on from; n_chains: how many there are. */
static void negative_phase(const struct dg_run *run, const struct dg_batches *batches,
                           const struct dg_moving *moving, const uint8_t *const *from,
                           ptrdiff_t n_chains, uint64_t step,
                           const struct dg_update_threads *threads,
                           const struct update_buffers *b, struct phase_states *negative)
{
    const struct chain *chain = run->chain;
    uint8_t *const *to = run->persistent ? moving->to : b->chain;
    struct dg_stream stream = {0, step, 0, 0};
    stream.first_row = run->persistent ? moving->first_particle : batches->first_row;
    for (int l = 1; l < chain->n_layers; l += 2)
        negative->layer[l] = bytes_of(from[l], n_chains, chain->layers[l].size);
    for (int sweep = 0; sweep < run->n_sweeps; sweep++) {
        const int last = sweep == run->n_sweeps - 1;
        stream.key = run->sweep_keys[sweep];
        for (int parity = 0; parity < 2; parity++)
            for (int l = parity; l < chain->n_layers; l += 2) {
                const int draws = !(last && parity) || run->persistent;
                stream.purpose = run->purpose[l];
                pass(chain, l, negative->layer, NULL, &stream,
                     last && parity ? b->means[1][l] : NULL, draws ? to[l] : NULL, n_chains,
                     b->scratch, threads->model[l]);
                negative->layer[l] = bytes_of(to[l], n_chains, chain->layers[l].size);
            }
    }
    for (int l = 1; l < chain->n_layers; l += 2)
        negative->layer[l] = in_steps(run, l, b->means[1][l], b->steps[1][l], n_chains);
}

/* The step from both phases. Returns whether a parameter is no longer finite. */
static int step(const struct dg_run *run, const struct dg_moving *moving,
                const struct phase_states phases[2], double rate, double averaging,
                const struct dg_update_threads *threads, const struct update_buffers *b)
{
    const int n_layers = run->chain->n_layers, follows = moving->offset[0] != NULL;
    const struct layer *layers = run->chain->layers;
    int bad = 0;
    for (int l = 0; l < n_layers; l++) {
        for (int side = 0; side < 2; side++)
            mean_of(&phases[side].layer[l], layers[l].size, b->totals[side][l], threads->sums);
        for (ptrdiff_t j = 0; j < layers[l].size; j++) {
            b->difference[l][j] = b->totals[0][l][j] - b->totals[1][l][j];
            b->rounded[l][j] = (float)b->difference[l][j];
        }
    }
    for (int l = 0; l + 1 < n_layers; l++) {
        struct dg_update update = {0};
        struct dg_phase pairs[2];
        for (int side = 0; side < 2; side++)
            pairs[side] = (struct dg_phase){phases[side].layer[l], phases[side].layer[l + 1]};
        update.scale_positive = (float)(1.0 / (double)pairs[0].lower.n_rows);
        update.scale_negative = (float)(1.0 / (double)pairs[1].lower.n_rows);
        update.learning_rate = (float)(run->weight_rate[l] * rate);
        update.momentum = run->momentum;
        update.weight_decay = run->weight_decay;
        update.averaging = (float)averaging;
        if (follows) {
            update.offset_lower = moving->offset[l];
            update.offset_upper = moving->offset[l + 1];
            update.difference_lower = b->rounded[l];
            update.difference_upper = b->rounded[l + 1];
            update.follow_lower = b->follow[0][l];
            update.follow_upper = b->follow[1][l + 1];
        }
        struct dg_repack repack = run->repack[l];
        bad |= dg_update_weights(&pairs[0], &pairs[1], layers[l].size, layers[l + 1].size, &update,
                                 NULL, run->weights[l], moving->velocity.weights[l],
                                 moving->average.weights[l], &repack, b->scratch,
                                 threads->weights[l]);
    }
    for (int l = 0; l < n_layers; l++)
        bad |= step_bias(run, l, b, follows, (float)rate, (float)averaging,
                         moving->velocity.bias[l], moving->average.bias[l]);
    for (int l = 1; follows && l < n_layers; l++)
        for (ptrdiff_t j = 0; j < layers[l].size; j++) {
            double offset = (double)moving->offset[l][j];
            moving->offset[l][j] =
                (float)(offset + run->offset_rate * (b->totals[0][l][j] - offset));
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
    const uint8_t *const *from = run->persistent ? moving->from
                                                 : (const uint8_t *const *)buffers.chain;
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
        struct phase_states phases[2];
        const uint64_t at = position + (uint64_t)*made;
        positive_phase(run, batches, &x, at, threads, &buffers, &phases[0]);
        negative_phase(run, batches, moving, from,
                       run->persistent ? moving->n_particles : x.n_rows, at, threads, &buffers,
                       &phases[1]);
        int bad = step(run, moving, phases, rates[*made], averaging[*made], threads, &buffers);
        if (run->persistent)
            from = (const uint8_t *const *)moving->to;
        ++*made;
        if (bad)
            return DG_NOT_FINITE;
    } while (batches->chosen && start < batches->n_chosen);
    return DG_MADE;
}

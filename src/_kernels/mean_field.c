/* Mean-field sweeps over tiles of rows (docs/kernels.md, "Mean field").
 *
 *     tiles    weights that are read as floats are put into the order that passes read, once
 *     fill     TILE rows of means, bias rows and held entries are copied from the call to the tile
 *     sweep    fresh = E[x_l | means of the neighbours];  mean = fresh + damping (mean - fresh),
 *              for the layers of one parity and then of the other
 *     let_go   rows whose means no longer move are written back; the others close the gaps
 */
#include "mean_field.h"

#include <math.h>
#include <string.h>

#include "byte_sums.h"
#include "conditional.h"
#include "elementwise.h"
#include "parallel.h"

/* Rows that share a read of the weights. */
#define TILE 128

/* The rows that are still on their way, one after the other, as the passes read them. */
struct tile {
    ptrdiff_t n_active;
    ptrdiff_t row[TILE]; /* the row of the call that each of them is */
    float change[TILE];  /* largest change of a mean in this sweep, before damping */
    float *mean[DG_MAX_LAYERS], *bias_rows[DG_MAX_LAYERS]; /* (rows, size of the layer) */
    float *bias_scale[DG_MAX_LAYERS];                      /* (rows,) */
    int64_t *trials[DG_MAX_LAYERS];                        /* (rows,) */
    float *fresh;                                          /* (rows, widest): of one layer */
    uint8_t *held[DG_MAX_LAYERS];
    uint8_t *steps[DG_MAX_LAYERS]; /* the means as bytes; NULL: neighbours read the floats */
    struct rows states[DG_MAX_LAYERS]; /* what neighbours read: the means, or their steps */
    struct context contexts[DG_MAX_LAYERS];
    struct chain chain; /* that of the call, with tiles of its weights */
    void *scratch;
};

/* Take the scratch of a tile, or count it (see dg_arena), and point its contexts and states into
 * it; `fill` gives them values. contexts: of the call, or NULL where only the size is wanted. */
static void make_tile(struct tile *tile, struct dg_arena *arena, const struct chain *chain,
                      const struct context *contexts, int in_steps, ptrdiff_t n_rows,
                      int n_threads)
{
    size_t rows = (size_t)dg_min(n_rows, TILE), widest = 0;
    for (int l = 0; l < chain->n_layers; l++) {
        size_t size = (size_t)chain->layers[l].size;
        widest = size > widest ? size : widest;
        tile->mean[l] = dg_take(arena, rows * size * sizeof(float));
        /* room for what a context may have: the size is asked for before there is one */
        tile->bias_rows[l] = dg_take(arena, rows * size * sizeof(float));
        tile->bias_scale[l] = dg_take(arena, rows * sizeof(float));
        tile->trials[l] = dg_take(arena, rows * sizeof(int64_t));
        tile->held[l] = dg_take(arena, rows * size);
        memset(&tile->contexts[l], 0, sizeof tile->contexts[l]);
        if (contexts && contexts[l].bias_rows)
            tile->contexts[l].bias_rows = tile->bias_rows[l];
        if (contexts && contexts[l].bias_scale)
            tile->contexts[l].bias_scale = tile->bias_scale[l];
        if (contexts && contexts[l].trials)
            tile->contexts[l].trials = tile->trials[l];
        if (contexts && contexts[l].held)
            tile->contexts[l].held = tile->held[l];
        tile->states[l] = (struct rows){DG_FLOATS, 1.0f, (ptrdiff_t)rows, (ptrdiff_t)size,
                                        tile->mean[l], NULL, NULL};
        tile->steps[l] = NULL;
        if (in_steps) {
            tile->steps[l] = dg_take(arena, rows * size);
            tile->states[l].storage = DG_BYTES;
            tile->states[l].unit = (float)chain->layers[l].n_copies / 255.0f;
            tile->states[l].data = tile->steps[l];
        }
    }
    tile->fresh = dg_take(arena, rows * widest * sizeof(float));
    tile->chain = *chain;
    for (int l = 0; l < chain->n_layers && !in_steps; l++)
        for (int side = 0; side < 2; side++) {
            size_t size = dg_tiles_floats(chain, l, side);
            if (size)
                tile->chain.tiles[side][l] = dg_take(arena, size * sizeof(float));
        }
    tile->scratch = arena->next ? arena->next + arena->used : NULL;
    arena->used += dg_conditional_bytes(chain, (ptrdiff_t)rows, n_threads);
}

size_t dg_mean_field_bytes(const struct chain *chain, ptrdiff_t n_rows, int in_steps,
                           int n_threads)
{
    struct tile tile;
    struct dg_arena arena = {NULL, 0};
    make_tile(&tile, &arena, chain, NULL, in_steps, n_rows, n_threads);
    return arena.used + 64;
}

/* What neighbours read of a row of layer l, after its mean has moved. */
static void round_row(struct tile *tile, const struct layer *layer, int l, ptrdiff_t r)
{
    ptrdiff_t at = r * layer->size;
    if (tile->steps[l])
        dg_to_bytes(tile->mean[l] + at, layer->size, 255.0f / (float)layer->n_copies,
                    tile->steps[l] + at);
}

/* Take rows first .. first + n_rows - 1 of the call into the tile. */
static void fill(struct tile *tile, const struct chain *chain, const struct rows *means,
                 const struct context *contexts, ptrdiff_t first, ptrdiff_t n_rows)
{
    tile->n_active = n_rows;
    for (ptrdiff_t r = 0; r < n_rows; r++)
        tile->row[r] = first + r;
    for (int l = 0; l < chain->n_layers; l++) {
        size_t size = (size_t)chain->layers[l].size, at = (size_t)first * size;
        size_t count = (size_t)n_rows * size;
        memcpy(tile->mean[l], (const float *)means[l].data + at, count * sizeof(float));
        if (contexts[l].bias_rows)
            memcpy(tile->bias_rows[l], contexts[l].bias_rows + at, count * sizeof(float));
        if (contexts[l].bias_scale)
            memcpy(tile->bias_scale[l], contexts[l].bias_scale + first,
                   (size_t)n_rows * sizeof(float));
        if (contexts[l].trials)
            memcpy(tile->trials[l], contexts[l].trials + first, (size_t)n_rows * sizeof(int64_t));
        if (contexts[l].held)
            memcpy(tile->held[l], contexts[l].held + at, count);
        for (ptrdiff_t r = 0; r < n_rows; r++)
            round_row(tile, &chain->layers[l], l, r);
    }
}

/* mean = fresh + damping (mean - fresh) for one row of a layer; returns max |mean - fresh|. */
DG_CLONES
static float move_row(float *mean, const float *fresh, ptrdiff_t size, float damping)
{
    const int32_t infinity = 0x7F800000; /* bits of magnitudes compare as magnitudes do */
    int32_t most = 0;
    for (ptrdiff_t j = 0; j < size; j++) {
        float away = mean[j] - fresh[j];
        int32_t by = dg_bits(away) & 0x7FFFFFFF;
        by = by > infinity ? 0 : by; /* what is not a number has not moved */
        most = by > most ? by : most;
        mean[j] = fresh[j] + damping * away; /* a held entry, which is not away, keeps its bits */
    }
    return dg_from_bits(most);
}

/* One Gauss-Seidel sweep of the rows that are left: layers of `first_parity`, then of the other.
 * Layers of one parity are no neighbours, so each reads the newest means around it. */
static void sweep(struct tile *tile, int first_parity, float damping, int n_threads)
{
    const struct chain *chain = &tile->chain;
    const struct dg_stream no_stream = {0};
    ptrdiff_t n = tile->n_active;
    for (ptrdiff_t r = 0; r < n; r++)
        tile->change[r] = 0.0f;
    for (int half = 0; half < 2; half++)
        for (int l = first_parity ^ half; l < chain->n_layers; l += 2) {
            ptrdiff_t size = chain->layers[l].size;
            struct dg_outputs out = {0};
            out.mean = tile->fresh;
            if (tile->contexts[l].held) /* a pass leaves held entries of its output alone */
                memcpy(tile->fresh, tile->mean[l], (size_t)(n * size) * sizeof(float));
            dg_conditional(chain, l, tile->states, &tile->contexts[l], &no_stream, &out, NULL, n,
                           tile->scratch, n_threads);
            DG_OMP(omp parallel for num_threads(n_threads) if (n_threads > 1))
            for (ptrdiff_t r = 0; r < n; r++) {
                DG_FLUSH;
                float by = move_row(tile->mean[l] + r * size, tile->fresh + r * size, size,
                                    damping);
                tile->change[r] = by > tile->change[r] ? by : tile->change[r];
                round_row(tile, &chain->layers[l], l, r);
            }
        }
}

/* Write the rows that have arrived (their change is at most `tolerance`) or, with `all`, every row,
 * and move the others up into the gaps. `done`: sweeps so far. */
static void let_go(struct tile *tile, const struct chain *chain, struct rows *means,
                   int32_t *sweeps, float *change, int32_t done, int all, float tolerance)
{
    ptrdiff_t n_left = 0;
    for (ptrdiff_t r = 0; r < tile->n_active; r++) {
        int arrived = all || tile->change[r] <= tolerance;
        for (int l = 0; l < chain->n_layers; l++) {
            size_t size = (size_t)chain->layers[l].size, bytes = size * sizeof(float);
            const float *mean = tile->mean[l] + (size_t)r * size;
            if (arrived) {
                memcpy((float *)means[l].data + (size_t)tile->row[r] * size, mean, bytes);
            } else if (n_left != r) {
                memcpy(tile->mean[l] + (size_t)n_left * size, mean, bytes);
                if (tile->steps[l])
                    memcpy(tile->steps[l] + (size_t)n_left * size,
                           tile->steps[l] + (size_t)r * size, size);
                if (tile->contexts[l].bias_rows)
                    memcpy(tile->bias_rows[l] + (size_t)n_left * size,
                           tile->bias_rows[l] + (size_t)r * size, bytes);
                if (tile->contexts[l].bias_scale)
                    tile->bias_scale[l][n_left] = tile->bias_scale[l][r];
                if (tile->contexts[l].trials)
                    tile->trials[l][n_left] = tile->trials[l][r];
                if (tile->contexts[l].held)
                    memcpy(tile->held[l] + (size_t)n_left * size,
                           tile->held[l] + (size_t)r * size, size);
            }
        }
        if (arrived) {
            sweeps[tile->row[r]] = done;
            change[tile->row[r]] = tile->change[r];
        } else {
            tile->row[n_left++] = tile->row[r];
        }
    }
    tile->n_active = n_left;
}

void dg_mean_field(const struct chain *chain, struct rows *means, const struct context *contexts,
                   const struct dg_fixed_point *until, int32_t *sweeps, float *change,
                   ptrdiff_t n_rows, void *scratch, int n_threads)
{
    struct tile tile;
    struct dg_arena arena = {(char *)(((uintptr_t)scratch + 63) / 64 * 64), 0};
    make_tile(&tile, &arena, chain, contexts, until->in_steps, n_rows, n_threads);
    for (int l = 0; l < chain->n_layers && !until->in_steps; l++)
        for (int side = 0; side < 2; side++)
            if (tile.chain.tiles[side][l])
                dg_fill_tiles(chain, l, side, (float *)tile.chain.tiles[side][l], n_threads);
    for (ptrdiff_t first = 0; first < n_rows; first += TILE) {
        fill(&tile, chain, means, contexts, first, dg_min(TILE, n_rows - first));
        for (ptrdiff_t done = 1; tile.n_active; done++) {
            /* the start is no estimate of the layers that the first sweep computes anew */
            sweep(&tile, until->first_parity, done == 1 ? 0.0f : until->damping, n_threads);
            let_go(&tile, chain, means, sweeps, change, (int32_t)done,
                   done == until->max_sweeps, until->tolerance);
        }
    }
}

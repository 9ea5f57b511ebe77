/* One layer given its neighbours (docs/kernels.md, "A conditional pass").
 *
 *     field[r, :] = scale[r] bias + bias_rows[r, :] + x_below[r, :] W_below + x_above[r, :] W_above^T
 *
 * and from it, row by row: log normalizer, mean, draw. For each panel of rows:
 *
 *     pass 1  the neighbours' rows as words of whole numbers (prepare_whole), all others as lists
 *             or dense floats (prepare_floats); the rows are shared out among the threads
 *     pass 2  tasks of at most ROW_TILE rows by one block of columns (run_task)
 *     pass 3  log normalizers of the blocks, added in the order of the blocks
 */
#include "conditional.h"

#include <math.h>
#include <string.h>

#include "parallel.h"
#include "units.h"

/* Rows are taken in panels, so that scratch does not grow with the data; a panel is cut into
 * tiles of rows times blocks of columns, the tasks of the threads. None of it changes a bit. */
#define PANEL_INPUTS (1 << 18)
#define ROW_TILE 128
/* A tile of rows is halved, to no fewer than this, until there are enough tasks. */
#define LEAST_ROWS 16
/* Floats that are looked at together for one that is not zero. */
#define STRIP 16

/* Scratch for one neighbour's states in the panel, in whatever forms the pass reads them. */
struct neighbour {
    int64_t *count;     /* of each row: inputs that are not zero; 0 for rows of whole numbers */
    int32_t *length;    /* lists: see struct dg_operand */
    int32_t *index;
    float *value;       /* values of the lists, or whole rows as floats */
    int64_t *n_words;   /* of each row: words that are not zero, -1: not of whole numbers */
    uint32_t *words;    /* see struct dg_inputs */
    int32_t *places, *n_places;
};

/* How a pass is cut, and where its scratch lies. */
struct plan {
    ptrdiff_t panel;            /* rows that are prepared together */
    ptrdiff_t tile;             /* rows of a task */
    ptrdiff_t n_blocks, block;  /* blocks of columns, and how wide a whole one is */
    ptrdiff_t stride;           /* a block rounded up to whole tiles of DG_TILE columns */
    ptrdiff_t widest;           /* units of the larger neighbour */
    struct neighbour sides[2];  /* the layer below and the layer above */
    double *partial;            /* (n_blocks, panel): log normalizers of each block */
    char *thread_base;          /* scratch of thread 0; the others follow, thread_bytes apart */
    size_t thread_bytes;
};

ptrdiff_t dg_panel_rows(const struct chain *chain, int l)
{
    ptrdiff_t widest = 1;
    for (int m = l - 1; m <= l + 1; m++)
        if (m >= 0 && m < chain->n_layers && chain->layers[m].size > widest)
            widest = chain->layers[m].size;
    return dg_round_up(PANEL_INPUTS / widest + 1, 2 * ROW_TILE);
}

/* Tasks of a panel of so many rows: tiles of rows by blocks of columns. */
static ptrdiff_t tasks_of(const struct plan *plan, ptrdiff_t n_rows)
{
    return (n_rows + plan->tile - 1) / plan->tile * plan->n_blocks;
}

/* Cut a pass over layer l and take its scratch. With an empty arena nothing is taken and the bytes
 * are counted: the sizes that Python reserves come from this function too. */
static void make_plan(struct plan *plan, struct dg_arena *arena, const struct chain *chain, int l,
                      ptrdiff_t n_rows, int n_threads)
{
    const struct layer *layer = &chain->layers[l];
    plan->panel = dg_min(dg_panel_rows(chain, l), n_rows);
    plan->block = dg_block_width(layer);
    plan->n_blocks = layer->n_parts
        ? layer->n_blocks : (layer->size + plan->block - 1) / plan->block;
    plan->stride = dg_round_up(plan->block, DG_TILE);
    plan->tile = ROW_TILE;
    while (plan->tile > LEAST_ROWS && tasks_of(plan, plan->panel) < DG_TASKS * n_threads)
        plan->tile /= 2;
    plan->widest = 1;
    for (int side = 0; side < 2; side++) {
        int from = side ? l + 1 : l - 1;
        if (from < 0 || from >= chain->n_layers)
            continue;
        size_t size = (size_t)chain->layers[from].size;
        size_t rows = (size_t)dg_round_up(plan->panel, DG_GROUP);
        if ((ptrdiff_t)size > plan->widest)
            plan->widest = (ptrdiff_t)size;
        struct neighbour *x = &plan->sides[side];
        x->count = dg_take(arena, rows * sizeof(int64_t));
        x->length = dg_take(arena, rows / DG_GROUP * sizeof(int32_t));
        x->index = dg_take(arena, rows * size * sizeof(int32_t));
        x->value = dg_take(arena, rows * size * sizeof(float));
        if (!chain->packed[side ? l : l - 1])
            continue;
        size_t words = (size_t)dg_n_words(DG_PAIRS, (ptrdiff_t)size); /* QUADS has half of them */
        x->n_words = dg_take(arena, rows * sizeof(int64_t));
        x->words = dg_take(arena, rows * words * sizeof(uint32_t));
        x->places = dg_take(arena, rows * words * sizeof(int32_t));
        x->n_places = dg_take(arena, rows * sizeof(int32_t));
    }
    plan->partial = dg_take(arena, (size_t)(plan->n_blocks * plan->panel) * sizeof(double));
    struct dg_arena one = {NULL, 0}; /* of one thread: what run_task takes, in its order */
    dg_take(&one, (size_t)(plan->widest * DG_TILE) * sizeof(float));
    dg_take(&one, (size_t)((ROW_TILE + 4) * plan->stride) * sizeof(float));
    dg_take(&one, ROW_TILE * DG_TILE * sizeof(int32_t));
    plan->thread_bytes = one.used;
    plan->thread_base = dg_take(arena, one.used * (size_t)n_threads);
}

size_t dg_conditional_bytes(const struct chain *chain, ptrdiff_t n_rows, int n_threads)
{
    size_t most = 0;
    for (int l = 0; l < chain->n_layers; l++) {
        struct plan plan;
        struct dg_arena arena = {NULL, 0};
        make_plan(&plan, &arena, chain, l, n_rows, n_threads);
        most = arena.used > most ? arena.used : most;
    }
    return most + 64;
}

ptrdiff_t dg_conditional_tasks(const struct chain *chain, int l, ptrdiff_t n_rows, int n_threads)
{
    struct plan plan;
    struct dg_arena arena = {NULL, 0};
    make_plan(&plan, &arena, chain, l, n_rows, n_threads);
    return tasks_of(&plan, plan.panel);
}

/* Entries of one row that are not zero; of a sparse row those that it stores. */
DG_CLONES
static int64_t count_nonzero(const struct rows *x, ptrdiff_t row, ptrdiff_t size)
{
    if (x->storage == DG_SPARSE)
        return x->start[row + 1] - x->start[row];
    int64_t count = 0;
    if (x->storage == DG_BYTES) {
        const uint8_t *values = (const uint8_t *)x->data + row * x->stride;
        for (ptrdiff_t j = 0; j < size; j++)
            count += values[j] != 0;
    } else {
        const float *values = (const float *)x->data + row * x->stride;
        for (ptrdiff_t j = 0; j < size; j++)
            count += values[j] != 0.0f;
    }
    return count;
}

/* Write the non-zero entries of one row, DG_GROUP apart; returns how many. */
DG_CLONES
static ptrdiff_t list_row(const struct rows *x, ptrdiff_t row, ptrdiff_t size, int32_t *index,
                          float *value)
{
    ptrdiff_t at = 0;
    if (x->storage == DG_SPARSE) {
        for (int64_t e = x->start[row]; e < x->start[row + 1]; e++, at++) {
            index[at * DG_GROUP] = x->index[e];
            value[at * DG_GROUP] = ((const float *)x->data)[e];
        }
    } else if (x->storage == DG_BYTES) {
        const uint8_t *bytes = (const uint8_t *)x->data + row * x->stride;
        for (ptrdiff_t j = 0; j < size; j++) { /* no branch: data are hard to predict */
            index[at * DG_GROUP] = (int32_t)j;
            value[at * DG_GROUP] = x->unit * (float)bytes[j];
            at += bytes[j] != 0;
        }
    } else {
        const float *floats = (const float *)x->data + row * x->stride;
        for (ptrdiff_t first = 0; first < size; first += STRIP) {
            ptrdiff_t n = dg_min(STRIP, size - first);
            int any = n < STRIP; /* counts of words: most strips are empty */
            for (ptrdiff_t j = 0; j < STRIP && n == STRIP; j++)
                any |= floats[first + j] != 0.0f;
            for (ptrdiff_t j = first; any && j < first + n; j++) {
                index[at * DG_GROUP] = (int32_t)j;
                value[at * DG_GROUP] = floats[j];
                at += floats[j] != 0.0f;
            }
        }
    }
    return at;
}

/* Lists of the rows first .. first + n of one group, padded to the longest of them. */
static int32_t list_group(const struct rows *x, ptrdiff_t first, ptrdiff_t n, ptrdiff_t size,
                          const int64_t *n_words, int32_t *index, float *value)
{
    ptrdiff_t lengths[DG_GROUP] = {0}, longest = 0;
    for (ptrdiff_t r = 0; r < n; r++) {
        if (n_words && n_words[r] >= 0)
            continue; /* taken as whole numbers: see struct neighbour */
        lengths[r] = list_row(x, first + r, size, index + r, value + r);
        longest = lengths[r] > longest ? lengths[r] : longest;
    }
    for (ptrdiff_t r = 0; r < DG_GROUP; r++)
        for (ptrdiff_t e = lengths[r]; e < longest; e++) {
            index[e * DG_GROUP + r] = 0;
            value[e * DG_GROUP + r] = 0.0f;
        }
    return (int32_t)longest;
}

/* A tile of the weights with zeros where it has no columns. */
static void pad_columns(const float *weights, ptrdiff_t stride, ptrdiff_t n_inputs,
                        ptrdiff_t columns, float *out)
{
    for (ptrdiff_t k = 0; k < n_inputs; k++) {
        float *line = out + k * DG_TILE;
        for (ptrdiff_t c = 0; c < columns; c++)
            line[c] = weights[k * stride + c];
        for (ptrdiff_t c = columns; c < DG_TILE; c++)
            line[c] = 0.0f;
    }
}

/* `columns` columns of layer l from `first` on, as a tile: a line for each unit of the layer below,
 * or above. Units of l are rows of the matrix above it: a tile of its transpose. */
static void copy_tile(const struct chain *chain, int l, int side, ptrdiff_t first,
                      ptrdiff_t columns, float *out)
{
    if (side) {
        ptrdiff_t n_inputs = chain->layers[l + 1].size;
        dg_backend()->transpose(chain->weights[l], n_inputs, first, columns, n_inputs, out);
    } else {
        pad_columns(chain->weights[l - 1] + first, chain->layers[l].size,
                    chain->layers[l - 1].size, columns, out);
    }
}

/* Blocks of a layer of one kind, and how many tiles each of them is. */
static ptrdiff_t tiles_of(const struct layer *layer, ptrdiff_t *a_block)
{
    ptrdiff_t block = dg_block_width(layer);
    *a_block = (block + DG_TILE - 1) / DG_TILE;
    return (layer->size + block - 1) / block;
}

size_t dg_tiles_floats(const struct chain *chain, int l, int side)
{
    const struct layer *layer = &chain->layers[l];
    int from = side ? l + 1 : l - 1;
    ptrdiff_t a_block;
    if (from < 0 || from >= chain->n_layers || layer->n_parts)
        return 0;
    ptrdiff_t n_blocks = tiles_of(layer, &a_block);
    return (size_t)(n_blocks * a_block * DG_TILE * chain->layers[from].size);
}

void dg_fill_tiles(const struct chain *chain, int l, int side, float *out, int n_threads)
{
    const struct layer *layer = &chain->layers[l];
    const ptrdiff_t n_inputs = chain->layers[side ? l + 1 : l - 1].size;
    ptrdiff_t a_block, block = dg_block_width(layer), n_blocks = tiles_of(layer, &a_block);
    DG_OMP(omp parallel for num_threads(n_threads) if (n_threads > 1))
    for (ptrdiff_t tile = 0; tile < n_blocks * a_block; tile++) {
        ptrdiff_t first = tile / a_block * block, at = tile % a_block * DG_TILE;
        ptrdiff_t width = dg_min(block, layer->size - first);
        if (at < width)
            copy_tile(chain, l, side, first + at, dg_min(DG_TILE, width - at),
                      out + tile * n_inputs * DG_TILE);
    }
}

/* What one neighbour sends in a panel: its rows as floats, as words of whole numbers, or some as
 * the one and some as the other; neither, where there is no such neighbour. */
struct side {
    struct dg_operand floats;
    struct dg_inputs whole;
    float scale; /* of the sums of whole numbers */
    int has_floats, has_whole;
};

/* field[r, :] += scale * (words[first + r, :] . tile) for DG_TILE columns, the sum over
 * whole.n_words words at a time: all of them for states, strips of each row for means. Each sum is
 * exact; what is added to the field is rounded once a strip. sums: scratch, (n_rows, DG_TILE). */
static void add_whole(const struct dg_backend *backend, const struct side *side,
                      ptrdiff_t first, ptrdiff_t n_rows, const uint32_t *tile, int32_t *sums,
                      float *field, ptrdiff_t stride)
{
    struct dg_inputs strip = side->whole;
    for (ptrdiff_t w = 0; w < strip.stride; w += side->whole.n_words) {
        strip.words = side->whole.words + w;
        strip.n_words = dg_min(side->whole.n_words, strip.stride - w);
        backend->fixed->product(&strip, first, n_rows, DG_PLANES, tile + w * DG_TILE, sums);
        backend->add_sums(sums, n_rows, side->scale, field, stride);
    }
}

/* backend->finish for a block of a mixed layer, part by part: columns `first` to `first` + `width`
 * of the layer. block_log_normalizer[row], or NULL: OUT, the sum of those of the parts. */
static void finish_parts(const struct dg_backend *backend, const struct layer *layer,
                         const struct context *context, const struct dg_stream *stream,
                         const struct dg_outputs *out, ptrdiff_t first_row, ptrdiff_t n_rows,
                         ptrdiff_t first, ptrdiff_t width, float *field, ptrdiff_t stride,
                         float *scratch, double *block_log_normalizer)
{
    double of_part[ROW_TILE];
    for (ptrdiff_t at = first, end; at < first + width; at = end) {
        const struct layer *part = &layer->parts[layer->part_of[at]];
        end = dg_min(part->end, first + width);
        backend->finish(part, context, stream, out, first_row, n_rows, at, end - at,
                        field + (at - first), stride, scratch,
                        block_log_normalizer ? of_part - first_row : NULL);
        for (ptrdiff_t i = 0; block_log_normalizer && i < n_rows; i++)
            block_log_normalizer[first_row + i] =
                at == first ? of_part[i] : block_log_normalizer[first_row + i] + of_part[i];
    }
}

/* One task: `n_rows` rows by the columns of `block`, from field to draw.
 *
 * Rows have three names. The task's rows are 0 .. n_rows - 1 of its scratch, `offset` .. of the
 * panel (as which `sides` and `partial` know them), and first_row + offset .. of the call (as which
 * `context`, `out` and the random stream know them).
 *
 * Scratch of the thread, in this order:
 *     packed  (n_inputs, DG_TILE)     a tile of weights that cannot be read in place
 *     field   (ROW_TILE + 4, stride)  fields of the task; the last four lines serve `finish`, for
 *                                     tempered fields, precisions, means and draws of one row (a
 *                                     part reads whole tiles, so fields of the columns after it too)
 *     sums    (ROW_TILE, DG_TILE)     whole-number sums of a tile
 *
 *     pass 1  field = scale bias + bias_rows, zero beyond the block's columns
 *     pass 2  for each tile of DG_TILE columns, += what the layer below sends, then the one above:
 *             rows of whole numbers from the packed weights, the others from the floats. A row is
 *             one or the other and is zero in the form that it is not.
 *     pass 3  finish: log normalizer into `partial` (NULL: not wanted), mean, draw */
static void run_task(const struct dg_backend *backend, const struct chain *chain, int l,
                     const struct context *context, const struct dg_stream *stream,
                     const struct dg_outputs *out, const struct plan *plan,
                     const struct side sides[2], ptrdiff_t first_row, ptrdiff_t offset,
                     ptrdiff_t n_rows, ptrdiff_t block, double *partial, char *scratch)
{
    const struct layer *layer = &chain->layers[l];
    ptrdiff_t first = layer->n_parts ? layer->blocks[block] : block * plan->block;
    ptrdiff_t end = layer->n_parts
        ? layer->blocks[block + 1] : dg_min(first + plan->block, layer->size);
    ptrdiff_t width = end - first, stride = plan->stride;
    struct dg_arena arena = {scratch, 0};
    float *packed = dg_take(&arena, (size_t)(plan->widest * DG_TILE) * sizeof(float));
    float *field = dg_take(&arena, (size_t)((ROW_TILE + 4) * stride) * sizeof(float));
    int32_t *sums = dg_take(&arena, ROW_TILE * DG_TILE * sizeof(int32_t));

    for (ptrdiff_t i = 0; i < n_rows; i++) {
        const float *extra = context->bias_rows
            ? context->bias_rows + (first_row + offset + i) * layer->size + first : NULL;
        float scale = context->bias_scale ? context->bias_scale[first_row + offset + i] : 1.0f;
        for (ptrdiff_t j = 0; j < width; j++)
            field[i * stride + j] = scale * layer->bias[first + j] + (extra ? extra[j] : 0.0f);
        for (ptrdiff_t j = width; j < stride; j++)
            field[i * stride + j] = 0.0f;
    }
    for (ptrdiff_t sub = 0; sub < width; sub += DG_TILE) {
        ptrdiff_t columns = dg_min(DG_TILE, width - sub);
        for (int side = 0; side < 2; side++) {
            int from = side ? l + 1 : l - 1;
            const ptrdiff_t tile = block * (stride / DG_TILE) + sub / DG_TILE;
            if (sides[side].has_whole) {
                const struct dg_packed *w = chain->packed[side ? l : l - 1];
                ptrdiff_t words = dg_tile_words(w->layout, chain->layers[from].size);
                add_whole(backend, &sides[side], offset, n_rows,
                          (side ? w->down : w->up) + tile * words, sums, field + sub, stride);
            }
            if (!sides[side].has_floats)
                continue;
            ptrdiff_t n_inputs = chain->layers[from].size, b_stride = DG_TILE;
            const float *b = packed;
            if (chain->tiles[side][l]) {
                b = chain->tiles[side][l] + tile * n_inputs * DG_TILE;
            } else if (!side && columns == DG_TILE) {
                b = chain->weights[l - 1] + first + sub; /* whole tiles are read where they are */
                b_stride = layer->size;
            } else {
                copy_tile(chain, l, side, first + sub, columns, packed);
            }
            backend->product(&sides[side].floats, offset, n_rows, n_inputs, b, b_stride,
                             field + sub, stride);
        }
    }
    /* rows of `partial` are local to the panel, rows of everything else are the caller's */
    double *log_normalizer = partial ? partial + block * plan->panel - first_row : NULL;
    if (layer->n_parts)
        finish_parts(backend, layer, context, stream, out, first_row + offset, n_rows, first,
                     width, field, stride, field + ROW_TILE * stride, log_normalizer);
    else
        backend->finish(layer, context, stream, out, first_row + offset, n_rows, first, width,
                        field, stride, field + ROW_TILE * stride, log_normalizer);
}

/* Rows of whole numbers as words, and what saves work with them. Called by a team of threads; what
 * it writes into `side` is the same for all of them.
 *
 *     means in steps          the words alone, summed DG_STRIP_INPUTS inputs at a time
 *     few words not zero      lists of their places
 *     many, states 0 and 1    nibbles, if the instruction set reads tables of 16 sums
 *
 * A row that holds another number (a grey value) gets words of zero here and is left to
 * prepare_floats; a row of whole numbers is left out there. */
static void prepare_whole(struct side *side, struct neighbour *x, const struct dg_packed *packed,
                          const struct layer *from, const struct rows *states,
                          ptrdiff_t first_row, ptrdiff_t panel)
{
    const struct dg_fixed *fixed = dg_backend()->fixed;
    ptrdiff_t n_words = dg_n_words(packed->layout, from->size), n_whole = 0;
    int64_t total = 0;
    DG_OMP(omp for schedule(static))
    for (ptrdiff_t r = 0; r < panel; r++) {
        x->n_words[r] = dg_row_words(packed->layout, states, first_row + r, from->size,
                                     from->n_copies, x->words + r * n_words);
        if (x->n_words[r] < 0)
            memset(x->words + r * n_words, 0, (size_t)n_words * sizeof *x->words);
    }
    for (ptrdiff_t r = 0; r < panel; r++) {
        n_whole += x->n_words[r] >= 0;
        total += x->n_words[r] > 0 ? x->n_words[r] : 0;
    }
    side->has_whole = n_whole > 0;
    side->has_floats = n_whole < panel;
    side->whole = (struct dg_inputs){n_words, n_words, x->words, NULL, NULL, NULL};
    side->scale = packed->scale * states->unit;
    if (states->unit != 1.0f) { /* means: few are zero, and their sums are cut */
        side->whole.n_words = DG_STRIP_INPUTS / dg_word_inputs(packed->layout);
        return;
    }
    if (!n_whole)
        return;
    if ((double)total >= (double)fixed->list_density * (double)(panel * n_words)) {
        if (!fixed->reads_nibbles || from->n_copies > 1)
            return;
        uint8_t *nibbles = (uint8_t *)x->places; /* lists are not made then */
        DG_OMP(omp for schedule(static))
        for (ptrdiff_t r = 0; r < panel; r++)
            dg_word_nibbles(x->words + r * n_words, n_words, nibbles + r * (n_words / 2));
        side->whole.nibbles = nibbles;
        return;
    }
    DG_OMP(omp for schedule(static))
    for (ptrdiff_t r = 0; r < panel; r++)
        x->n_places[r] =
            (int32_t)fixed->places(x->words + r * n_words, n_words, ~0u, x->places + r * n_words);
    side->whole.index = x->places;
    side->whole.length = x->n_places;
}

/* All other rows as an operand of floats: lists of their non-zero entries, or dense where they have
 * many and no row of the panel is of whole numbers (whose lists are empty). Called by a team. */
static void prepare_floats(struct side *side, struct neighbour *x, const struct rows *states,
                           ptrdiff_t first_row, ptrdiff_t panel, ptrdiff_t size)
{
    struct dg_operand *operand = &side->floats;
    DG_OMP(omp for schedule(static))
    for (ptrdiff_t r = 0; r < panel; r++)
        x->count[r] = side->has_whole && x->n_words[r] >= 0
            ? 0 : count_nonzero(states, first_row + r, size);
    int64_t total = 0;
    for (ptrdiff_t r = 0; r < panel; r++)
        total += x->count[r];
    if (states->storage == DG_SPARSE || side->has_whole ||
        (double)total < LIST_DENSITY * (double)(panel * size)) {
        operand->capacity = size;
        operand->index = x->index;
        operand->value = x->value;
        operand->length = x->length;
        DG_OMP(omp for schedule(static))
        for (ptrdiff_t r = 0; r < panel; r += DG_GROUP)
            x->length[r / DG_GROUP] =
                list_group(states, first_row + r, dg_min(DG_GROUP, panel - r), size,
                           side->has_whole ? x->n_words + r : NULL, x->index + r * size,
                           x->value + r * size);
    } else if (states->storage == DG_BYTES) {
        DG_OMP(omp for schedule(static))
        for (ptrdiff_t r = 0; r < panel; r++) {
            const uint8_t *bytes = (const uint8_t *)states->data + (first_row + r) * states->stride;
            for (ptrdiff_t j = 0; j < size; j++)
                x->value[r * size + j] = states->unit * (float)bytes[j];
        }
        operand->dense = x->value;
        operand->stride = size;
        operand->step = 1;
    } else {
        operand->dense = (const float *)states->data + first_row * states->stride;
        operand->stride = states->stride;
        operand->step = 1;
    }
}

void dg_conditional(const struct chain *chain, int l, const struct rows *states,
                    const struct context *context, const struct dg_stream *stream,
                    struct dg_outputs *out, double *log_normalizer, ptrdiff_t n_rows,
                    void *scratch, int n_threads)
{
    const struct dg_backend *backend = dg_backend();
    struct plan plan;
    struct dg_arena arena = {(char *)(((uintptr_t)scratch + 63) / 64 * 64), 0};
    make_plan(&plan, &arena, chain, l, n_rows, n_threads);
    double *partial = log_normalizer ? plan.partial : NULL;

    DG_OMP(omp parallel num_threads(n_threads) if (n_threads > 1))
    for (ptrdiff_t first_row = 0; first_row < n_rows; first_row += plan.panel) {
        DG_FLUSH;
        ptrdiff_t panel = dg_min(plan.panel, n_rows - first_row);
        struct side sides[2] = {{{0}}, {{0}}};

        for (int side = 0; side < 2; side++) {
            int from = side ? l + 1 : l - 1;
            if (from < 0 || from >= chain->n_layers)
                continue;
            const struct dg_packed *packed = chain->packed[side ? l : l - 1];
            sides[side].has_floats = 1;
            if (packed)
                prepare_whole(&sides[side], &plan.sides[side], packed, &chain->layers[from],
                              &states[from], first_row, panel);
            if (sides[side].has_floats)
                prepare_floats(&sides[side], &plan.sides[side], &states[from], first_row, panel,
                               chain->layers[from].size);
        }

        DG_OMP(omp for schedule(dynamic, 1))
        for (ptrdiff_t task = 0; task < tasks_of(&plan, panel); task++) {
            ptrdiff_t offset = task / plan.n_blocks * plan.tile;
            char *mine = plan.thread_base + (size_t)omp_get_thread_num() * plan.thread_bytes;
            run_task(backend, chain, l, context, stream, out, &plan, sides, first_row, offset,
                     dg_min(plan.tile, panel - offset), task % plan.n_blocks, partial, mine);
        }
        if (partial) {
            DG_OMP(omp for schedule(static))
            for (ptrdiff_t r = 0; r < panel; r++) {
                double sum = 0.0;
                for (ptrdiff_t block = 0; block < plan.n_blocks; block++)
                    sum += partial[block * plan.panel + r];
                log_normalizer[first_row + r] += sum;
            }
        }
    }
}

void dg_gibbs(const struct chain *chain, const uint8_t *free_layers, struct rows *states,
              const struct context *contexts, const struct dg_stream *stream,
              ptrdiff_t n_sweeps, ptrdiff_t n_rows, void *scratch, int n_threads)
{
    for (ptrdiff_t sweep = 0; sweep < n_sweeps; sweep++)
        for (int parity = 1; parity >= 0; parity--)
            for (int l = parity; l < chain->n_layers; l += 2) {
                if (!free_layers[l])
                    continue;
                struct dg_stream site = *stream;
                struct dg_outputs out = {0};
                site.step = stream->step + (uint64_t)sweep;
                site.purpose = stream->purpose | (uint32_t)l << 16;
                if (states[l].storage == DG_BYTES)
                    out.sample_bytes = (uint8_t *)states[l].data;
                else
                    out.sample_floats = (float *)states[l].data;
                dg_conditional(chain, l, states, &contexts[l], &site, &out, NULL, n_rows, scratch,
                               n_threads);
            }
}

static double log_binomial(int n, int k)
{
    return lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0);
}

/* Log weight of the state x of unit j in a row, its neighbours left out:
 *
 *     (beta (scale bias + bias_row) + (1 - beta) base_bias) x  +  log base measure,
 *
 * where the base measure is the binomial coefficient (n_copies over x) of tied copies, and
 * exp(-precision x^2 / 2) of a Gaussian unit, with a precision that is tempered like the bias. */
static double unit_log_weight(const struct layer *layer, const struct context *context,
                              ptrdiff_t row, ptrdiff_t j, double x)
{
    double beta = context->beta ? (double)context->beta[row] : 1.0, weight;
    double field = layer->bias[j];
    if (context->bias_scale)
        field *= (double)context->bias_scale[row];
    if (context->bias_rows)
        field += (double)context->bias_rows[row * layer->size + j];
    field *= beta;
    if (context->base_bias)
        field += (1.0 - beta) * (double)context->base_bias[row * context->base_stride + j];
    weight = field * x;
    if (layer->n_parts)
        layer = &layer->parts[layer->part_of[j]];
    switch (layer->kind) {
    case DG_BINARY:
        if (layer->n_copies > 1)
            weight += log_binomial(layer->n_copies, (int)x);
        break;
    case DG_GAUSSIAN:  /* that of its precision, below */
    case DG_SOFTMAX:     /* none */
    case DG_MULTINOMIAL: /* none: a state stands for draws in one order */
    case DG_LINEAR:    /* none: log ratios of layers whose base measures cancel */
    case DG_RECTIFIED: /* never weighed */
        break;
    }
    if (layer->precision) {
        double precision = beta * (double)layer->precision[j];
        if (context->base_precision)
            precision += (1.0 - beta) * (double)context->base_precision[j];
        weight -= 0.5 * precision * x * x;
    }
    return weight;
}

void dg_layer_log_weight(const struct layer *layer, const struct rows *x,
                         const struct context *context, double *out, int n_threads)
{
    DG_OMP(omp parallel for num_threads(n_threads) if (n_threads > 1))
    for (ptrdiff_t r = 0; r < x->n_rows; r++) {
        DG_FLUSH;
        double sum = 0.0;
        if (x->storage == DG_SPARSE) {
            for (int64_t e = x->start[r]; e < x->start[r + 1]; e++)
                sum += unit_log_weight(layer, context, r, x->index[e],
                                       (double)((const float *)x->data)[e]);
        } else {
            const uint8_t *bytes = (const uint8_t *)x->data + r * x->stride;
            const float *floats = (const float *)x->data + r * x->stride;
            for (ptrdiff_t j = 0; j < layer->size; j++) {
                double v = x->storage == DG_BYTES ? (double)bytes[j] : (double)floats[j];
                if (v != 0.0) /* a state of zero weighs nothing, so sparse rows are complete */
                    sum += unit_log_weight(layer, context, r, j, v);
            }
        }
        out[r] += sum;
    }
}

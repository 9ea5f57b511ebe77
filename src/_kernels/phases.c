/* Update of one weight matrix (docs/kernels.md, "The update"; docs/math.md, "One update").
 *
 * A task is a `piece` of the matrix: DG_TILE lower units by a slice of upper ones. For each CHUNK
 * of rows:
 *
 *     pass 1  upper states of both phases as tiles of DG_TILE columns (prepare_upper), which all
 *             tasks read; rows are shared out among the threads
 *     pass 2  for each task and phase, acc[i, c] += sum_r x[r, i] y[r, c]: the columns of its lower
 *             units are turned into rows, then one product for each tile (add_rows)
 *     pass 3  after the last chunk, in the same task: gradient or step, row by row of the piece
 *             (step_piece), and the packed form of what was written
 *
 * No sum crosses threads, and each runs over the rows in order. What biases follow by is a sum over
 * units: each piece writes the parts that are its own, and they are added in order at the end.
 */
#include "phases.h"

#include <math.h>
#include <string.h>

#include "byte_sums.h"
#include "parallel.h"
#include "units.h"

/* Rows packed and transposed at a time: what all tiles read stays in caches, and sums of bytes
 * stay far below 2^31. */
#define CHUNK 1024

/* A state, or the steps of a mean: its unit comes at the end. */
static float value_at(const struct rows *x, ptrdiff_t row, ptrdiff_t column)
{
    if (x->storage == DG_BYTES)
        return (float)((const uint8_t *)x->data)[row * x->stride + column];
    return ((const float *)x->data)[row * x->stride + column];
}

/* First entry of a sparse row in `column` or to the right of it, by bisection. */
static int64_t first_entry(const struct rows *x, ptrdiff_t row, ptrdiff_t column)
{
    int64_t low = x->start[row], high = x->start[row + 1];
    while (low < high) {
        int64_t middle = low + (high - low) / 2;
        if (x->index[middle] < column)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Upper states of a chunk as tiles (n_tiles, n, DG_TILE) of floats, zero padded; writes line `at`
 * of each tile. */
static void pack_upper(const struct rows *y, ptrdiff_t n_upper, ptrdiff_t row, ptrdiff_t at,
                       ptrdiff_t n, float *packed)
{
    ptrdiff_t n_tiles = (n_upper + DG_TILE - 1) / DG_TILE;
    for (ptrdiff_t tile = 0; tile < n_tiles; tile++) {
        float *line = packed + (tile * n + at) * DG_TILE;
        ptrdiff_t width = dg_min(DG_TILE, n_upper - tile * DG_TILE);
        if (y->storage == DG_FLOATS)
            memcpy(line, (const float *)y->data + row * y->stride + tile * DG_TILE,
                   (size_t)width * sizeof *line);
        else
            for (ptrdiff_t c = 0; c < width; c++)
                line[c] = value_at(y, row, tile * DG_TILE + c);
        for (ptrdiff_t c = width; c < DG_TILE; c++)
            line[c] = 0.0f;
    }
}

/* DG_TILE columns of the n rows of a chunk, turned into the rows of an operand, or into inputs
 * (byte_sums.h) where both layers are bytes. */
struct transposed {
    int32_t length[DG_TILE]; /* of groups; of the lists of inputs */
    int32_t *index;          /* (DG_TILE, n): of the lists; or places of inputs */
    union {
        float *value;    /* (DG_TILE, n): entries of the lists; or (n, DG_TILE): all values */
        uint32_t *words; /* of inputs */
    };
};

/* How many values of n rows from `first` on, `width` columns from `column` on, are not zero. */
DG_CLONES
static int64_t filled(const struct rows *x, ptrdiff_t first, ptrdiff_t n, ptrdiff_t column,
                      ptrdiff_t width)
{
    int64_t total = 0;
    for (ptrdiff_t r = first; r < first + n; r++) {
        int32_t count = 0;
        if (x->storage == DG_BYTES) {
            const uint8_t *bytes = (const uint8_t *)x->data + r * x->stride + column;
            for (ptrdiff_t c = 0; c < width; c++)
                count += bytes[c] != 0;
        } else {
            const float *floats = (const float *)x->data + r * x->stride + column;
            for (ptrdiff_t c = 0; c < width; c++)
                count += floats[c] != 0.0f;
        }
        total += count;
    }
    return total;
}

/* Write an entry of one list; it is kept only if `keep`. No branch: what is non-zero in data is
 * hard to predict. A list never outgrows the rows seen, so the last write has room. */
static inline void append(struct transposed *t, ptrdiff_t n_rows, int32_t *lengths,
                          ptrdiff_t column, ptrdiff_t row, float v, int keep)
{
    ptrdiff_t group = column / DG_GROUP, r = column % DG_GROUP;
    ptrdiff_t at = (group * n_rows + lengths[column]) * DG_GROUP + r;
    t->index[at] = (int32_t)row;
    t->value[at] = v;
    lengths[column] += keep;
}

/* `width` columns of n rows of x, turned into the rows of an operand:
 *
 *     operand[i, r] = x[first + r, column + i]
 *
 * Dense where LIST_DENSITY of the values or more are not zero: the values stay as they lie, (n,
 * DG_TILE), and are read with stride 1 and step DG_TILE. Else lists, one for each column, in groups
 * of DG_GROUP that are padded to their longest with entries of row 0 and value 0. */
static struct dg_operand transpose(const struct rows *x, ptrdiff_t first, ptrdiff_t n,
                                   ptrdiff_t column, ptrdiff_t width, struct transposed *t)
{
    struct dg_operand operand = {NULL, 1, DG_TILE, t->index, t->value, t->length, n};
    int32_t lengths[DG_TILE] = {0};
    if (x->storage != DG_SPARSE &&
        (double)filled(x, first, n, column, width) >= LIST_DENSITY * (double)(n * width)) {
        for (ptrdiff_t r = 0; r < n; r++)
            for (ptrdiff_t c = 0; c < width; c++)
                t->value[r * DG_TILE + c] = value_at(x, first + r, column + c);
        operand.dense = t->value;
        return operand;
    }
    for (ptrdiff_t r = 0; r < n; r++) {
        if (x->storage == DG_SPARSE) {
            int64_t e = first_entry(x, first + r, column);
            for (; e < x->start[first + r + 1] && x->index[e] < column + width; e++)
                append(t, n, lengths, x->index[e] - column, r, ((const float *)x->data)[e], 1);
        } else if (x->storage == DG_BYTES) {
            const uint8_t *bytes = (const uint8_t *)x->data + (first + r) * x->stride + column;
            for (ptrdiff_t c = 0; c < width; c++)
                append(t, n, lengths, c, r, (float)bytes[c], bytes[c] != 0);
        } else {
            const float *floats = (const float *)x->data + (first + r) * x->stride + column;
            for (ptrdiff_t c = 0; c < width; c++)
                append(t, n, lengths, c, r, floats[c], floats[c] != 0.0f);
        }
    }
    for (ptrdiff_t group = 0; group < DG_TILE / DG_GROUP; group++) {
        int32_t longest = 0, *of_group = lengths + group * DG_GROUP;
        for (int r = 0; r < DG_GROUP; r++)
            longest = of_group[r] > longest ? of_group[r] : longest;
        for (int r = 0; r < DG_GROUP; r++)
            while (of_group[r] < longest)
                append(t, n, lengths, group * DG_GROUP + r, 0, 0.0f, 1);
        t->length[group] = longest;
    }
    return operand;
}

/* What a thread needs for one task: DG_TILE lower units by the upper ones of a slice. */
struct task_scratch {
    struct transposed lower;
    union {        /* (DG_TILE, DG_TILE) */
        int32_t *sums;
        float *floats;
    };
    float *acc[2]; /* (DG_TILE, columns of a slice): sums over rows of each phase */
};

/* How the states of a phase are summed: docs/kernels.md, "The update". */
enum way { FLOATS, WORDS, LINES };

static enum way way_of(const struct dg_phase *phase, ptrdiff_t n_lower)
{
    if (!dg_are_bytes(&phase->lower, &phase->upper))
        return FLOATS;
    return dg_sums_along_lists(dg_backend()->fixed, &phase->lower, n_lower) ? LINES : WORDS;
}

/* Parts of the sums that biases follow by: of block b of DG_FOLLOW_BLOCK upper units those of each
 * lower one, of tile t of DG_TILE lower units those of each upper one. */
struct follow_parts {
    ptrdiff_t n_blocks, n_tiles;
    float *lower; /* (n_blocks, n_lower) */
    float *upper; /* (n_tiles, n_upper) */
};

/* Take the parts of a matrix, or count them (see dg_arena). */
static void take_parts(struct follow_parts *parts, struct dg_arena *arena, ptrdiff_t n_lower,
                       ptrdiff_t n_upper)
{
    parts->n_blocks = (n_upper + DG_FOLLOW_BLOCK - 1) / DG_FOLLOW_BLOCK;
    parts->n_tiles = (n_lower + DG_TILE - 1) / DG_TILE;
    parts->lower = dg_take(arena, (size_t)(parts->n_blocks * n_lower) * sizeof(float));
    parts->upper = dg_take(arena, (size_t)(parts->n_tiles * n_upper) * sizeof(float));
}

/* How an update is cut, and where its scratch lies. */
struct update_plan {
    ptrdiff_t longest;       /* rows of the longer phase */
    ptrdiff_t slice;         /* upper units of a task */
    ptrdiff_t n_tasks;       /* tiles of lower units by slices of upper ones */
    void *upper[2];          /* tiles of all upper units: floats, or words of numbers */
    float *sums[2];          /* of all weights, where they wait for another chunk; else NULL */
    struct follow_parts parts;
    char *thread_base;       /* scratch of thread 0; the others follow, thread_bytes apart */
    size_t thread_bytes;
};

/* Lines of a tile of n rows, as floats or as words. */
static size_t tile_lines(ptrdiff_t n)
{
    ptrdiff_t words = dg_n_words(DG_PAIRS, n); /* QUADS have half of them */
    return (size_t)(n > words ? n : words);
}

/* Take what one thread needs for its tasks, or count it (see dg_arena). */
static void take_scratch(struct task_scratch *task, struct dg_arena *arena, ptrdiff_t longest,
                         ptrdiff_t slice)
{
    size_t values = tile_lines(dg_min(longest, CHUNK)) * DG_TILE;
    task->lower.index = dg_take(arena, values * sizeof(int32_t));
    task->lower.value = dg_take(arena, values * sizeof(float));
    task->sums = dg_take(arena, DG_TILE * DG_TILE * sizeof(int32_t));
    for (int side = 0; side < 2; side++)
        task->acc[side] = dg_take(arena, (size_t)(DG_TILE * slice) * sizeof(float));
}

/* Upper units of a task: all, or fewer where lower units alone make too few tasks; whole blocks of
 * the sums that biases follow by. */
static ptrdiff_t slice_width(ptrdiff_t n_lower, ptrdiff_t n_upper, int n_threads)
{
    ptrdiff_t wanted = DG_TASKS * n_threads, n = (n_lower + DG_TILE - 1) / DG_TILE;
    ptrdiff_t n_slices = n > 0 ? (wanted + n - 1) / n : 1;
    return dg_round_up((n_upper + n_slices - 1) / n_slices, DG_FOLLOW_BLOCK);
}

/* Cut an update and take its scratch, or count it (see dg_arena). n_rows: of both phases. */
static void make_update_plan(struct update_plan *plan, struct dg_arena *arena,
                             const ptrdiff_t n_rows[2], ptrdiff_t n_lower, ptrdiff_t n_upper,
                             int n_threads)
{
    size_t padded = (size_t)dg_round_up(n_upper, DG_TILE);
    size_t n_sums = (size_t)dg_round_up(n_lower, DG_TILE) * padded;
    plan->longest = n_rows[0] > n_rows[1] ? n_rows[0] : n_rows[1];
    plan->slice = dg_min(slice_width(n_lower, n_upper, n_threads), (ptrdiff_t)padded);
    take_parts(&plan->parts, arena, n_lower, n_upper);
    plan->n_tasks = (n_lower + DG_TILE - 1) / DG_TILE *
                    (plan->slice ? (n_upper + plan->slice - 1) / plan->slice : 0);
    for (int side = 0; side < 2; side++) {
        size_t lines = tile_lines(dg_min(n_rows[side], CHUNK));
        plan->upper[side] = dg_take(arena, lines * padded * sizeof(float));
        plan->sums[side] = NULL;
        if (plan->longest > CHUNK && n_rows[side])
            plan->sums[side] = dg_take(arena, n_sums * sizeof(float));
    }
    struct dg_arena one = {NULL, 0};
    struct task_scratch task;
    take_scratch(&task, &one, plan->longest, plan->slice);
    plan->thread_bytes = one.used;
    plan->thread_base = dg_take(arena, one.used * (size_t)n_threads);
}

size_t dg_update_bytes(ptrdiff_t n_positive, ptrdiff_t n_negative, ptrdiff_t n_lower,
                       ptrdiff_t n_upper, int n_threads)
{
    struct update_plan plan;
    struct dg_arena arena = {NULL, 0};
    const ptrdiff_t n_rows[2] = {n_positive, n_negative};
    make_update_plan(&plan, &arena, n_rows, n_lower, n_upper, n_threads);
    return arena.used + 64;
}

ptrdiff_t dg_update_tasks(ptrdiff_t n_lower, ptrdiff_t n_upper, int n_threads)
{
    struct update_plan plan;
    struct dg_arena arena = {NULL, 0};
    const ptrdiff_t n_rows[2] = {1, 1};
    make_update_plan(&plan, &arena, n_rows, n_lower, n_upper, n_threads);
    return plan.n_tasks;
}

/* Tiles of the upper states of rows first .. first + n - 1 of one phase, as its way asks:
 *
 *     FLOATS  (n_tiles, n, DG_TILE) floats         LINES  the same of 16-bit numbers
 *     WORDS   (n_tiles, words of n rows, DG_TILE)  see dg_pack_bytes()
 *
 * Called by a team of threads. */
static void prepare_upper(const struct dg_phase *phase, enum way way, ptrdiff_t n_upper,
                          ptrdiff_t first, ptrdiff_t n, void *tiles)
{
    if (way == WORDS) {
        int layout = dg_backend()->fixed->sums_layout;
        DG_OMP(omp for schedule(static))
        for (ptrdiff_t w = 0; w < dg_n_words(layout, n); w++)
            dg_pack_bytes(layout, &phase->upper, n_upper, first, n, w, tiles);
        return;
    }
    DG_OMP(omp for schedule(static))
    for (ptrdiff_t row = 0; row < n; row++)
        if (way == LINES)
            dg_pack_line(&phase->upper, n_upper, first, n, row, tiles);
        else
            pack_upper(&phase->upper, n_upper, first + row, row, n, tiles);
}

/* Lower units column .. column + width - 1 by upper ones first .. first + n_columns - 1. */
struct piece {
    ptrdiff_t column, width, first, n_columns;
};

/* acc = unit * sums or acc += unit * sums, by `op`, for `width` lower units of a tile; whole numbers
 * of either type. */
#define SCALED_STEPS(name, type, op) \
    DG_CLONES \
    static void name(const type *sums, ptrdiff_t width, float unit, float *acc, \
                     ptrdiff_t stride) \
    { \
        for (ptrdiff_t i = 0; i < width; i++) \
            for (int c = 0; c < DG_TILE; c++) \
                acc[i * stride + c] op unit * (float)sums[i * DG_TILE + c]; \
    }
SCALED_STEPS(put_integers, int32_t, =)
SCALED_STEPS(add_integers, int32_t, +=)
SCALED_STEPS(add_floats, float, +=)

/* acc[i, c] += sum_r x[r, i] y[r, c] over rows start .. start + n - 1 of one phase, for the lower
 * units i and the upper units c of a piece.
 *
 * `tiles` has the upper states y of these rows (prepare_upper); the lower states x are turned here.
 * acc: INOUT, (piece->width, piece->n_columns), rows `stride` apart; OUT where bytes start at row 0.
 * The sums of bytes are whole numbers until the end, where the units of both layers (1 for states,
 * the step of means) come in as one factor. */
static void add_rows(const struct dg_phase *phase, enum way way, ptrdiff_t start, ptrdiff_t n,
                     const struct piece *piece, const void *tiles, struct task_scratch *task,
                     float *acc, ptrdiff_t stride)
{
    const struct dg_backend *backend = dg_backend();
    const struct dg_fixed *fixed = backend->fixed;
    struct transposed *lower = &task->lower;
    const ptrdiff_t width = piece->width;
    const float unit = phase->lower.unit * phase->upper.unit;
    struct dg_operand operand = {0};
    struct dg_inputs inputs = {0};
    if (way == FLOATS)
        operand = transpose(&phase->lower, start, n, piece->column, width, lower);
    else if (way == WORDS)
        inputs = dg_turn_bytes(fixed, &phase->lower, start, n, piece->column, width,
                               lower->words, lower->index, lower->length);
    else
        dg_list_rows(fixed, &phase->lower, start, n, piece->column, width, lower->words,
                     lower->index, lower->length);
    for (ptrdiff_t c = 0; c < piece->n_columns; c += DG_TILE) {
        ptrdiff_t first = piece->first + c; /* tiles are DG_TILE columns by rows or words of rows */
        if (way == FLOATS && unit == 1.0f) {
            backend->product(&operand, 0, width, n, (const float *)tiles + first * n, DG_TILE,
                             acc + c, stride);
            continue;
        }
        if (way == FLOATS) { /* of steps: whole numbers as floats, so the bits of the other ways */
            memset(task->floats, 0, DG_TILE * DG_TILE * sizeof(float));
            backend->product(&operand, 0, width, n, (const float *)tiles + first * n, DG_TILE,
                             task->floats, DG_TILE);
            add_floats(task->floats, width, unit, acc + c, stride);
            continue;
        }
        if (way == WORDS)
            fixed->product(&inputs, 0, width, 1, (const uint32_t *)tiles + first * inputs.n_words,
                           task->sums);
        else
            dg_sum_lines(lower->index, lower->length, n, width,
                         (const uint16_t *)tiles + first * n, task->sums);
        if (start == 0)
            put_integers(task->sums, width, unit, acc + c, stride);
        else
            add_integers(task->sums, width, unit, acc + c, stride);
    }
}

/* The arrays of an update, (n_lower, n_upper); NULL: not there. */
struct matrices {
    float *gradient, *weights, *velocity, *average;
};

/* Gradient or step of a piece, row by row, from its sums acc[side][i * stride[side] + c] of each
 * phase. overflow: INOUT, 1 where a weight became non-finite. Returns the largest magnitude of the
 * others. */
static float step_piece(const struct dg_update *update, const struct piece *piece,
                        const float *const acc[2], const ptrdiff_t stride[2], ptrdiff_t n_lower,
                        ptrdiff_t n_upper, const struct matrices *to,
                        const struct follow_parts *parts, int *overflow)
{
    float largest = 0.0f;
    float *by_upper = NULL;
    if (update->follow_lower) {
        by_upper = parts->upper + piece->column / DG_TILE * n_upper + piece->first;
        memset(by_upper, 0, (size_t)piece->n_columns * sizeof *by_upper);
    }
    for (ptrdiff_t i = 0; i < piece->width; i++)
        for (ptrdiff_t c = 0; c < piece->n_columns; c += DG_FOLLOW_BLOCK) {
            ptrdiff_t row = piece->column + i, first = piece->first + c;
            ptrdiff_t at = row * n_upper + first;
            float most = dg_backend()->update_row(
                update, row, first, dg_min(DG_FOLLOW_BLOCK, piece->n_columns - c),
                acc[0] + i * stride[0] + c, acc[1] + i * stride[1] + c,
                to->gradient ? to->gradient + at : NULL, to->weights ? to->weights + at : NULL,
                to->velocity ? to->velocity + at : NULL, to->average ? to->average + at : NULL,
                by_upper ? parts->lower + first / DG_FOLLOW_BLOCK * n_lower + row : NULL,
                by_upper ? by_upper + c : NULL);
            *overflow |= !isfinite(most);
            largest = most > largest ? most : largest;
        }
    return largest;
}

/* out[j] = sum_p parts[p, j] of n units, in the order of the parts. Called by a team of threads. */
static void join_parts(const float *parts, ptrdiff_t n_parts, ptrdiff_t n, float *out)
{
    DG_OMP(omp for schedule(static))
    for (ptrdiff_t first = 0; first < n; first += DG_FOLLOW_BLOCK) {
        ptrdiff_t end = dg_min(first + DG_FOLLOW_BLOCK, n);
        for (ptrdiff_t j = first; j < end; j++)
            out[j] = parts[j];
        for (ptrdiff_t p = 1; p < n_parts; p++)
            for (ptrdiff_t j = first; j < end; j++)
                out[j] += parts[p * n + j];
    }
}

/* Both sums that biases follow by, where they are wanted. Called by a team of threads. */
static void join_follow(const struct dg_update *update, const struct follow_parts *parts,
                        ptrdiff_t n_lower, ptrdiff_t n_upper)
{
    if (!update->follow_lower)
        return;
    join_parts(parts->lower, parts->n_blocks, n_lower, update->follow_lower);
    join_parts(parts->upper, parts->n_tiles, n_upper, update->follow_upper);
}

int dg_update_weights(const struct dg_phase *positive, const struct dg_phase *negative,
                      ptrdiff_t n_lower, ptrdiff_t n_upper, const struct dg_update *update,
                      float *gradient, float *weights, float *velocity, float *average,
                      struct dg_repack *repack, void *scratch, int n_threads)
{
    const struct dg_phase *phases[2] = {positive, negative};
    const struct matrices to = {gradient, weights, velocity, average};
    const ptrdiff_t n_rows[2] = {positive->upper.n_rows, negative->upper.n_rows};
    const ptrdiff_t padded = dg_round_up(n_upper, DG_TILE);
    struct update_plan plan;
    struct dg_arena arena = {(char *)(((uintptr_t)scratch + 63) / 64 * 64), 0};
    make_update_plan(&plan, &arena, n_rows, n_lower, n_upper, n_threads);
    const ptrdiff_t n_lower_tiles = (n_lower + DG_TILE - 1) / DG_TILE;
    const enum way ways[2] = {way_of(positive, n_lower), way_of(negative, n_lower)};
    const int by_pieces = repack && dg_packs_by_pieces(repack->lower, repack->upper);
    int overflow = 0;
    float largest = 0.0f;

    DG_OMP(omp parallel num_threads(n_threads) if (n_threads > 1)
           reduction(| : overflow) reduction(max : largest))
    {
        DG_FLUSH;
        struct dg_arena of_thread = {
            plan.thread_base + (size_t)omp_get_thread_num() * plan.thread_bytes, 0};
        struct task_scratch task;
        take_scratch(&task, &of_thread, plan.longest, plan.slice);
        for (int side = 0; side < 2; side++)
            if (!n_rows[side]) /* its sums stay zero */
                memset(task.acc[side], 0, (size_t)(DG_TILE * plan.slice) * sizeof(float));
        ptrdiff_t start = 0;
        do { /* also without rows: weights decay */
            const int is_last = plan.longest - start <= CHUNK;
            ptrdiff_t n[2];
            for (int side = 0; side < 2; side++) {
                n[side] = dg_min(CHUNK, n_rows[side] - start);
                n[side] = n[side] < 0 ? 0 : n[side];
                prepare_upper(phases[side], ways[side], n_upper, start, n[side], plan.upper[side]);
            }
            DG_OMP(omp for schedule(dynamic, 1))
            for (ptrdiff_t number = 0; number < plan.n_tasks; number++) {
                struct piece piece = {number % n_lower_tiles * DG_TILE, 0,
                                      number / n_lower_tiles * plan.slice, 0};
                piece.width = dg_min(DG_TILE, n_lower - piece.column);
                piece.n_columns = dg_min(plan.slice, n_upper - piece.first);
                /* sums of a piece: the thread's, or where a later chunk finds them again */
                float *acc[2];
                ptrdiff_t stride[2];
                for (int side = 0; side < 2; side++) {
                    acc[side] = task.acc[side];
                    stride[side] = plan.slice;
                    if (plan.sums[side]) {
                        acc[side] = plan.sums[side] + piece.column * padded + piece.first;
                        stride[side] = padded;
                    }
                    size_t line = (size_t)dg_round_up(piece.n_columns, DG_TILE) * sizeof(float);
                    if (start == 0 && n_rows[side] && ways[side] == FLOATS)
                        for (ptrdiff_t i = 0; i < DG_TILE; i++)
                            memset(acc[side] + i * stride[side], 0, line);
                    if (n[side])
                        add_rows(phases[side], ways[side], start, n[side], &piece,
                                 plan.upper[side], &task, acc[side], stride[side]);
                }
                if (!is_last)
                    continue;
                float most = step_piece(update, &piece, (const float *const *)acc, stride,
                                        n_lower, n_upper, &to, &plan.parts, &overflow);
                largest = most > largest ? most : largest;
                if (by_pieces) /* what was written is still in the caches */
                    dg_pack_piece(repack->packed, repack->lower, repack->upper, weights,
                                  piece.column, piece.first, piece.n_columns);
            }
            start += CHUNK;
        } while (start < plan.longest);
        join_follow(update, &plan.parts, n_lower, n_upper);
    }
    /* the scale is one for the whole matrix: a new one makes every number anew */
    if (repack && (!by_pieces || dg_scale(largest) != repack->packed->scale))
        dg_pack(repack->packed, repack->lower, repack->upper, weights, n_threads);
    return overflow;
}

int dg_update_from_sums(const float *positive, const float *negative, ptrdiff_t n_lower,
                        ptrdiff_t n_upper, const struct dg_update *update, float *gradient,
                        float *weights, float *velocity, float *average,
                        struct dg_repack *repack, void *scratch, int n_threads)
{
    const struct matrices to = {gradient, weights, velocity, average};
    struct dg_arena arena = {(char *)(((uintptr_t)scratch + 63) / 64 * 64), 0};
    struct follow_parts parts;
    take_parts(&parts, &arena, n_lower, n_upper);
    int overflow = 0;
    DG_OMP(omp parallel num_threads(n_threads) if (n_threads > 1) reduction(| : overflow))
    {
        DG_FLUSH;
        DG_OMP(omp for schedule(static))
        for (ptrdiff_t column = 0; column < n_lower; column += DG_TILE) {
            const struct piece piece = {column, dg_min(DG_TILE, n_lower - column), 0, n_upper};
            const float *const acc[2] = {positive + column * n_upper, negative + column * n_upper};
            const ptrdiff_t stride[2] = {n_upper, n_upper};
            step_piece(update, &piece, acc, stride, n_lower, n_upper, &to, &parts, &overflow);
        }
        join_follow(update, &parts, n_lower, n_upper);
    }
    if (repack)
        dg_pack(repack->packed, repack->lower, repack->upper, weights, n_threads);
    return overflow;
}

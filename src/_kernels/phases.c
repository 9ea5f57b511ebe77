#include "phases.h"

#include <string.h>

#include "parallel.h"
#include "units.h"

#define CHUNK 1024 /* rows packed and transposed at a time: what all tiles read stays in caches */

static float value_at(const struct rows *x, ptrdiff_t row, ptrdiff_t column)
{
    if (x->storage == DG_BYTES)
        return (float)((const uint8_t *)x->data)[row * x->stride + column];
    return ((const float *)x->data)[row * x->stride + column];
}

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

/* DG_TILE columns of the n rows of a chunk, turned into the rows of an operand. */
struct transposed {
    int32_t length[DG_TILE / DG_GROUP];
    int32_t *index; /* (DG_TILE, n) */
    float *value;   /* (DG_TILE, n): entries of the lists; or (n, DG_TILE): all values */
};

/* How many of these values are not zero. */
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
        int32_t longest = 0, *own = lengths + group * DG_GROUP;
        for (int r = 0; r < DG_GROUP; r++)
            longest = own[r] > longest ? own[r] : longest;
        for (int r = 0; r < DG_GROUP; r++)
            while (own[r] < longest)
                append(t, n, lengths, group * DG_GROUP + r, 0, 0.0f, 1);
        t->length[group] = longest;
    }
    return operand;
}

/* What a thread needs for one task: DG_TILE lower units of both phases, and the sums of a tile. */
struct task_scratch {
    struct transposed lower[2];
    float *acc[2]; /* (DG_TILE, DG_TILE) */
};

static void take_scratch(struct task_scratch *task, struct dg_arena *arena,
                         const ptrdiff_t n_rows[2])
{
    for (int side = 0; side < 2; side++) {
        size_t values = (size_t)dg_min(n_rows[side], CHUNK) * DG_TILE;
        task->lower[side].index = dg_take(arena, values * sizeof(int32_t));
        task->lower[side].value = dg_take(arena, values * sizeof(float));
        task->acc[side] = dg_take(arena, DG_TILE * DG_TILE * sizeof(float));
    }
}

/* A tile's lines lie far apart, which hardware does not foresee: ask for them while its sums are
 * made. */
static inline void fetch(const float *array, ptrdiff_t at)
{
    if (array) {
        __builtin_prefetch(array + at, 1);
        __builtin_prefetch(array + at + 16, 1);
    }
}

struct update_plan {
    ptrdiff_t longest; /* rows of the longer phase */
    float *packed[2];
    float *sums[2]; /* all tiles, where they wait for another chunk; else NULL */
    char *thread_base;
    size_t thread_bytes;
};

static void make_update_plan(struct update_plan *plan, struct dg_arena *arena,
                             const ptrdiff_t n_rows[2], ptrdiff_t n_lower, ptrdiff_t n_upper,
                             int n_threads)
{
    size_t padded = (size_t)dg_round_up(n_upper, DG_TILE);
    size_t n_sums = (size_t)dg_round_up(n_lower, DG_TILE) * padded;
    plan->longest = n_rows[0] > n_rows[1] ? n_rows[0] : n_rows[1];
    for (int side = 0; side < 2; side++) {
        size_t rows = (size_t)dg_min(n_rows[side], CHUNK);
        plan->packed[side] = dg_take(arena, rows * padded * sizeof(float));
        plan->sums[side] = NULL;
        if (plan->longest > CHUNK && n_rows[side])
            plan->sums[side] = dg_take(arena, n_sums * sizeof(float));
    }
    struct dg_arena one = {NULL, 0};
    struct task_scratch task;
    take_scratch(&task, &one, n_rows);
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

int dg_update_weights(const struct dg_phase *positive, const struct dg_phase *negative,
                      ptrdiff_t n_lower, ptrdiff_t n_upper, const struct dg_update *update,
                      float *gradient, float *weights, float *velocity, float *average,
                      struct dg_repack *repack, void *scratch, int n_threads)
{
    const struct dg_backend *backend = dg_backend();
    const struct dg_phase *phases[2] = {positive, negative};
    const ptrdiff_t n_rows[2] = {positive->upper.n_rows, negative->upper.n_rows};
    const ptrdiff_t padded = dg_round_up(n_upper, DG_TILE);
    struct update_plan plan;
    struct dg_arena arena = {(char *)(((uintptr_t)scratch + 63) / 64 * 64), 0};
    make_update_plan(&plan, &arena, n_rows, n_lower, n_upper, n_threads);
    const int by_rows = repack && dg_packs_by_rows(repack->lower);
    int overflow = 0;
    float largest = 0.0f;

    DG_OMP(omp parallel num_threads(n_threads) if (n_threads > 1)
           reduction(| : overflow) reduction(max : largest))
    {
        struct dg_arena own = {
            plan.thread_base + (size_t)omp_get_thread_num() * plan.thread_bytes, 0};
        struct task_scratch task;
        take_scratch(&task, &own, n_rows);
        for (int side = 0; side < 2; side++)
            memset(task.acc[side], 0, DG_TILE * DG_TILE * sizeof(float));
        ptrdiff_t start = 0;
        do { /* also without rows: weights decay */
            const int is_last = plan.longest - start <= CHUNK;
            ptrdiff_t n[2];
            for (int side = 0; side < 2; side++) {
                n[side] = dg_min(CHUNK, n_rows[side] - start);
                n[side] = n[side] < 0 ? 0 : n[side];
                DG_OMP(omp for schedule(static))
                for (ptrdiff_t row = 0; row < n[side]; row++)
                    pack_upper(&phases[side]->upper, n_upper, start + row, row, n[side],
                               plan.packed[side]);
            }
            DG_OMP(omp for schedule(dynamic, 1))
            for (ptrdiff_t column = 0; column < n_lower; column += DG_TILE) {
                ptrdiff_t width = dg_min(DG_TILE, n_lower - column);
                struct dg_operand lower[2] = {{0}, {0}};
                for (int side = 0; side < 2; side++)
                    if (n[side])
                        lower[side] = transpose(&phases[side]->lower, start, n[side], column,
                                                width, &task.lower[side]);
                for (ptrdiff_t first = 0; first < n_upper; first += DG_TILE) {
                    float *acc[2];
                    if (is_last)
                        for (ptrdiff_t i = 0; i < width; i++) {
                            ptrdiff_t to = (column + i) * n_upper + first;
                            fetch(weights, to);
                            fetch(velocity, to);
                            fetch(average, to);
                        }
                    for (int side = 0; side < 2; side++) {
                        acc[side] = task.acc[side];
                        if (!n_rows[side])
                            continue; /* its sums stay zero */
                        if (plan.sums[side])
                            acc[side] = plan.sums[side] + column * padded + first * DG_TILE;
                        if (start == 0)
                            memset(acc[side], 0, DG_TILE * DG_TILE * sizeof(float));
                        if (n[side])
                            backend->product(&lower[side], 0, width, n[side],
                                             plan.packed[side] + first * n[side], DG_TILE,
                                             acc[side], DG_TILE);
                    }
                    for (ptrdiff_t i = 0; is_last && i < width; i++) {
                        ptrdiff_t at = i * DG_TILE, to = (column + i) * n_upper + first;
                        overflow |= backend->update_row(
                            update, column + i, first, dg_min(DG_TILE, n_upper - first),
                            acc[0] + at, acc[1] + at, gradient ? gradient + to : NULL,
                            weights ? weights + to : NULL,
                            velocity ? velocity + to : NULL, average ? average + to : NULL);
                    }
                }
                if (is_last && by_rows) { /* what was written is still in the caches */
                    float most = dg_largest(weights + column * n_upper, width * n_upper, 1);
                    largest = most > largest ? most : largest;
                    dg_pack_rows(repack->packed, repack->lower, repack->upper, weights, column);
                }
            }
            start += CHUNK;
        } while (start < plan.longest);
    }
    if (repack && (!by_rows || dg_scale(largest) != repack->packed->scale))
        dg_pack(repack->packed, repack->lower, repack->upper, weights, n_threads);
    return overflow;
}

#define SUM_BLOCK 64

/* What is summed for one block of columns; as many as there are, the rest stays zero. */
struct sums {
    double total[SUM_BLOCK], square[SUM_BLOCK], weighted[2][SUM_BLOCK];
};

DG_CLONES
static void sum_block(const struct rows *x, ptrdiff_t first, ptrdiff_t n, int squares,
                      const double *const factor[2], struct sums *sums)
{
    double values[SUM_BLOCK] = {0.0};
    for (ptrdiff_t r = 0; r < x->n_rows; r++) {
        if (x->storage == DG_BYTES) {
            const uint8_t *bytes = (const uint8_t *)x->data + r * x->stride + first;
            for (ptrdiff_t j = 0; j < n; j++)
                values[j] = (double)bytes[j];
        } else {
            const float *floats = (const float *)x->data + r * x->stride + first;
            for (ptrdiff_t j = 0; j < n; j++)
                values[j] = (double)floats[j];
        }
        for (int j = 0; j < SUM_BLOCK; j++)
            sums->total[j] += values[j];
        if (squares)
            for (int j = 0; j < SUM_BLOCK; j++)
                sums->square[j] += values[j] * values[j];
        for (int side = 0; side < 2; side++)
            if (factor[side])
                for (int j = 0; j < SUM_BLOCK; j++)
                    sums->weighted[side][j] += factor[side][r] * values[j];
    }
}

static void add(double *to, const double *from, ptrdiff_t n)
{
    for (ptrdiff_t j = 0; to && j < n; j++)
        to[j] += from[j];
}

void dg_layer_sums(const struct rows *x, ptrdiff_t size, const double *const factor[2],
                   double *total, double *square, double *const weighted[2], int n_threads)
{
    if (x->storage == DG_SPARSE) {
        for (ptrdiff_t r = 0; r < x->n_rows; r++)
            for (int64_t e = x->start[r]; e < x->start[r + 1]; e++) {
                ptrdiff_t j = x->index[e];
                double v = (double)((const float *)x->data)[e];
                total[j] += v;
                if (square)
                    square[j] += v * v;
                for (int side = 0; side < 2; side++)
                    if (factor[side])
                        weighted[side][j] += factor[side][r] * v;
            }
        return;
    }
    DG_OMP(omp parallel for num_threads(n_threads) if (n_threads > 1) schedule(static))
    for (ptrdiff_t j = 0; j < size; j += SUM_BLOCK) {
        struct sums sums = {{0.0}};
        ptrdiff_t n = dg_min(SUM_BLOCK, size - j);
        sum_block(x, j, n, square != NULL, factor, &sums);
        add(total + j, sums.total, n);
        add(square ? square + j : NULL, sums.square, n);
        for (int side = 0; side < 2; side++)
            add(factor[side] ? weighted[side] + j : NULL, sums.weighted[side], n);
    }
}

/* sum_j x[j] offset[j] in eight float64 lanes by column: whatever the storage, the same bits */
DG_CLONES
static double row_dot(const struct rows *x, ptrdiff_t row, ptrdiff_t size, const float *offset)
{
    double lanes[8] = {0.0};
    if (x->storage == DG_SPARSE) {
        for (int64_t e = x->start[row]; e < x->start[row + 1]; e++)
            lanes[x->index[e] % 8] +=
                (double)((const float *)x->data)[e] * (double)offset[x->index[e]];
    } else if (x->storage == DG_BYTES) {
        const uint8_t *bytes = (const uint8_t *)x->data + row * x->stride;
        for (ptrdiff_t j = 0; j + 8 <= size; j += 8)
            for (int lane = 0; lane < 8; lane++)
                lanes[lane] += (double)bytes[j + lane] * (double)offset[j + lane];
        for (ptrdiff_t j = size / 8 * 8; j < size; j++)
            lanes[j % 8] += (double)bytes[j] * (double)offset[j];
    } else {
        const float *floats = (const float *)x->data + row * x->stride;
        for (ptrdiff_t j = 0; j + 8 <= size; j += 8)
            for (int lane = 0; lane < 8; lane++)
                lanes[lane] += (double)floats[j + lane] * (double)offset[j + lane];
        for (ptrdiff_t j = size / 8 * 8; j < size; j++)
            lanes[j % 8] += (double)floats[j] * (double)offset[j];
    }
    return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
           ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

void dg_row_dot(const struct rows *x, ptrdiff_t size, const float *offset, double *out,
                int n_threads)
{
    DG_OMP(omp parallel for num_threads(n_threads) if (n_threads > 1) schedule(static))
    for (ptrdiff_t r = 0; r < x->n_rows; r++)
        out[r] = row_dot(x, r, size, offset);
}

/* Which instruction set passes over ratings use, and how rows and pairs are cut for threads. */
#include "ratings.h"

#include <math.h>
#include <string.h>

#include "backend.h"
#include "parallel.h"

#define PAIRS_OF_A_TASK 4096
#define ROWS_OF_A_TASK 32

static const struct dg_ratings_ops *operations(void)
{
#ifdef __x86_64__
    const char *name = dg_backend()->name;
    if (strcmp(name, "avx2") == 0)
        return &dg_ratings_avx2;
    if (strcmp(name, "generic") != 0)
        return &dg_ratings_avx512;
#endif
    return &dg_ratings_generic;
}

void dg_ratings_hidden(const struct dg_ratings_model *model, const struct dg_ratings *rows,
                       int quantity, float *out, int n_threads)
{
    const struct dg_ratings_ops *ops = operations();
    /* rows differ in length by a factor of a hundred: they are shared out few at a time */
    DG_OMP(omp parallel for num_threads(n_threads) if (n_threads > 1) schedule(dynamic, 8))
    for (ptrdiff_t r = 0; r < rows->n_rows; r++) {
        DG_FLUSH;
        float *field = out + r * model->width;
        ops->fields(model, rows, r, field);
        if (!quantity)
            ops->logistic(field, model->n_hidden, model->width, field);
    }
}

void dg_ratings_pairs(const struct dg_ratings_model *model, const float *hidden,
                      const int64_t *row, const int32_t *column, ptrdiff_t n,
                      float *probabilities, float *expected, int n_threads)
{
    const struct dg_ratings_ops *ops = operations();
    DG_OMP(omp parallel for num_threads(n_threads) if (n_threads > 1) schedule(dynamic))
    for (ptrdiff_t p = 0; p < n; p += PAIRS_OF_A_TASK) {
        DG_FLUSH;
        ops->pairs(model, hidden, row + p, column + p, dg_min(PAIRS_OF_A_TASK, n - p),
                   probabilities ? probabilities + p * model->n_values : NULL,
                   expected ? expected + p : NULL);
    }
}

void dg_ratings_scores(const struct dg_ratings_model *model, const float *hidden, ptrdiff_t n_rows,
                       const int32_t *column, ptrdiff_t n, int top, float *scores,
                       ptrdiff_t row_stride, ptrdiff_t column_stride, int n_threads)
{
    const struct dg_ratings_ops *ops = operations();
    /* the weights of a block of columns stay in the cache while the rows of a task pass over it */
    ptrdiff_t rows_of_a_task = n_rows < 4 * ROWS_OF_A_TASK ? ROWS_OF_A_TASK : 4 * ROWS_OF_A_TASK;
    ptrdiff_t n_blocks = (n + RATING_BLOCK - 1) / RATING_BLOCK;
    ptrdiff_t n_tasks = (n_rows + rows_of_a_task - 1) / rows_of_a_task * n_blocks;
    DG_OMP(omp parallel for num_threads(n_threads) if (n_threads > 1) schedule(dynamic))
    for (ptrdiff_t task = 0; task < n_tasks; task++) {
        DG_FLUSH;
        ptrdiff_t r = task / n_blocks * rows_of_a_task, c = task % n_blocks * RATING_BLOCK;
        int32_t numbers[RATING_BLOCK];
        ptrdiff_t width = dg_min(RATING_BLOCK, n - c);
        for (ptrdiff_t i = 0; i < width; i++)
            numbers[i] = column ? column[c + i] : (int32_t)(c + i);
        ops->block(model, hidden + r * model->width, dg_min(rows_of_a_task, n_rows - r), numbers,
                   width, top, scores + r * row_stride + c * column_stride, row_stride,
                   column_stride);
    }
}

void dg_ratings_top(const float *scores, ptrdiff_t n_rows, ptrdiff_t n_columns, ptrdiff_t n,
                    int64_t *ids, float *top, int n_threads)
{
    DG_OMP(omp parallel for num_threads(n_threads) if (n_threads > 1) schedule(static))
    for (ptrdiff_t r = 0; r < n_rows; r++) {
        int64_t *id = ids + r * n;
        float *best = top + r * n;
        ptrdiff_t count = 0;
        for (ptrdiff_t c = 0; c < n_columns; c++) {
            float x = scores[r * n_columns + c];
            if (isnan(x) || (count == n && !(x > best[n - 1])))
                continue;
            /* columns come in order, so an equal one that is there already stays before it */
            ptrdiff_t place = count < n ? count++ : n - 1;
            for (; place > 0 && best[place - 1] < x; place--) {
                best[place] = best[place - 1];
                id[place] = id[place - 1];
            }
            best[place] = x;
            id[place] = c;
        }
        for (; count < n; count++) {
            best[count] = NAN;
            id[count] = -1;
        }
    }
}

void dg_ratings_learn(const struct dg_ratings_model *model, const struct dg_ratings *rows,
                      const struct dg_ratings_step *step, const struct dg_stream *stream,
                      int chains, struct dg_ratings_sums *sums, void *scratch)
{
    DG_FLUSH;
    const struct dg_ratings_ops *ops = operations();
    (chains ? ops->learn_chains : ops->learn_masked)(model, rows, step, stream, sums, scratch);
}

size_t dg_ratings_learn_bytes(const struct dg_ratings_model *model, ptrdiff_t longest)
{
    /* vectors of hidden units; a word and a byte for each rating, rounded up to a draw of 32 */
    return 8 * (size_t)(dg_round_up(model->width, 32) + 32) * sizeof(float) +
           (size_t)(dg_round_up(longest, 32) + 64) * 8 + 1024;
}

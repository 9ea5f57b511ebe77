/* The passes over ratings, stated once over a few vector macros that the including file defines:
 *
 *   VEC  a vector of LANES floats    LOAD(p) STORE(p, v) SET1(x) ADD(a, b) FMA(a, b, c)
 *   TOTAL(v)  the sum of RATING_LANES lanes in VECS vectors, by halves: lanes 0..7 plus 8..15, ...
 *   TOTAL4(v, out)  the same of four vectors; only where a vector has all lanes, and a register file
 *        the sums of four rows by TOGETHER values
 *   OPS  the name of the table at the end
 *
 * A sum over hidden units f runs in RATING_LANES lanes, lane f % RATING_LANES, each one chain of
 * fused multiply-adds. A sum over ratings or values is one chain in their order. So all instruction
 * sets give the same bits.
 */
#include <string.h>

#include "elementwise.h"
#include "parallel.h"
#include "ratings.h"

#define VECS (RATING_LANES / LANES)
/* Hidden units of a field that is summed in registers. */
#define STRIP 128
#define STRIP_VECS (STRIP / LANES)
/* Values whose weights meet the same hidden means at once. */
#define TOGETHER 5

DG_INLINE const float *weights_of(const struct dg_ratings_model *model, int32_t column)
{
    return model->weights + column * model->n_values * model->width;
}

/* field = hidden bias + sum_j (weights[column_j, value_j] + conditional[column_j]); with `masked`,
 * the weights of ratings that are not masked alone. n ratings, n_vecs vectors from `first` on. */
DG_INLINE void field_strip(const struct dg_ratings_model *model, const int32_t *column,
                           const uint8_t *value, const uint8_t *masked, ptrdiff_t n,
                           ptrdiff_t first, const int n_vecs, float *field)
{
    VEC sum[STRIP_VECS];
    for (int v = 0; v < n_vecs; v++)
        sum[v] = LOAD(model->hidden_bias + first + v * LANES);
    for (ptrdiff_t j = 0; j < n; j++) {
        if (!masked || !masked[j]) {
            const float *w = weights_of(model, column[j]) + value[j] * model->width + first;
            if (j + 4 < n) {
                const float *next = weights_of(model, column[j + 4]) +
                                    value[j + 4] * model->width + first;
                for (int v = 0; v < n_vecs * LANES; v += 16)
                    __builtin_prefetch(next + v);
            }
            for (int v = 0; v < n_vecs; v++)
                sum[v] = ADD(sum[v], LOAD(w + v * LANES));
        }
        if (model->conditional) {
            const float *d = model->conditional + column[j] * model->width + first;
            for (int v = 0; v < n_vecs; v++)
                sum[v] = ADD(sum[v], LOAD(d + v * LANES));
        }
    }
    for (int v = 0; v < n_vecs; v++)
        STORE(field + first + v * LANES, sum[v]);
}

static void field_of(const struct dg_ratings_model *model, const int32_t *column,
                     const uint8_t *value, const uint8_t *masked, ptrdiff_t n, float *field)
{
    ptrdiff_t f = 0;
    for (; f + STRIP <= model->width; f += STRIP)
        field_strip(model, column, value, masked, n, f, STRIP_VECS, field);
    switch ((model->width - f) / RATING_LANES) {
#define REST(groups) \
    case groups: \
        field_strip(model, column, value, masked, n, f, groups * VECS, field); \
        break;
        REST(1) REST(2) REST(3) REST(4) REST(5) REST(6) REST(7)
#undef REST
    }
}

/* The range of row r: its first rating; sets the number of ratings. */
DG_INLINE int64_t range_of(const struct dg_ratings *rows, ptrdiff_t r, ptrdiff_t *n)
{
    int64_t row = rows->order ? rows->order[r] : r;
    *n = (ptrdiff_t)(rows->starts[row + 1] - rows->starts[row]);
    return rows->starts[row];
}

static void ratings_fields(const struct dg_ratings_model *model, const struct dg_ratings *rows,
                           ptrdiff_t r, float *field)
{
    ptrdiff_t n;
    int64_t start = range_of(rows, r, &n);
    field_of(model, rows->columns + start, rows->values + start, NULL, n, field);
}

/* mean = logistic(field); zero for what rounds the number of hidden units up. */
static void ratings_logistic(const float *field, ptrdiff_t n_hidden, ptrdiff_t width, float *mean)
{
    for (ptrdiff_t f = 0; f < width; f++)
        mean[f] = dg_logistic(field[f]);
    for (ptrdiff_t f = n_hidden; f < width; f++)
        mean[f] = 0.0f;
}

/* out[k] = w[k, :] . h for n values, w rows `width` apart */
DG_INLINE void dots(const float *w, const float *h, ptrdiff_t width, const int n, float *out)
{
    VEC sum[TOGETHER][VECS];
    for (int k = 0; k < n; k++)
        for (int v = 0; v < VECS; v++)
            sum[k][v] = SET1(0.0f);
    for (ptrdiff_t f = 0; f < width; f += RATING_LANES)
        for (int v = 0; v < VECS; v++) {
            VEC x = LOAD(h + f + v * LANES);
            for (int k = 0; k < n; k++)
                sum[k][v] = FMA(LOAD(w + k * width + f + v * LANES), x, sum[k][v]);
        }
    for (int k = 0; k < n; k++)
        out[k] = TOTAL(sum[k]);
}

/* z[k] = bias[k] + weights[k, :] . h for all values of a column */
static void fields_at(const struct dg_ratings_model *model, int32_t column, const float *h,
                      float *z)
{
    const float *w = weights_of(model, column), *bias = model->bias + column * model->n_values;
    ptrdiff_t n = model->n_values, k = 0;
    for (; k + TOGETHER <= n; k += TOGETHER)
        dots(w + k * model->width, h, model->width, TOGETHER, z + k);
    switch (n - k) {
#define REST(count) \
    case count: \
        dots(w + k * model->width, h, model->width, count, z + k); \
        break;
        REST(1) REST(2) REST(3) REST(4)
#undef REST
    }
    for (k = 0; k < n; k++)
        z[k] += bias[k];
}

/* p[k] = exp(z[k]) / sum over K; returns the log normalizer, no finite number where a field is none.
 * z and p have room for whole groups of 8. */
DG_INLINE float softmax(const float *z, ptrdiff_t n, float *p)
{
    float most = z[0], sum = 0.0f;
    for (ptrdiff_t k = 1; k < n; k++)
        most = z[k] > most ? z[k] : most;
    for (ptrdiff_t k = 0; k < n; k += 8)
        for (int i = 0; i < 8; i++)
            p[k + i] = dg_exp(z[k + i] - most);
    for (ptrdiff_t k = 0; k < n; k++)
        sum += p[k];
    float part = 1.0f / sum;
    for (ptrdiff_t k = 0; k < n; k++)
        p[k] *= part;
    return sum - sum == 0.0f ? most + dg_log(sum) : sum - sum;
}

/* The softmax of a block of fields z[k][i]: probabilities in their place, and the expected value of
 * the scale. i < RATING_BLOCK; what lies beyond the fields that are meant is computed and not read. */
static void block_softmax(const struct dg_ratings_model *model,
                          float z[RATING_MOST_VALUES][RATING_BLOCK], float *expected)
{
    ptrdiff_t n = model->n_values;
    float most[RATING_BLOCK], sum[RATING_BLOCK];
    for (int i = 0; i < RATING_BLOCK; i++) {
        most[i] = z[0][i];
        sum[i] = expected[i] = 0.0f;
    }
    for (ptrdiff_t k = 1; k < n; k++)
        for (int i = 0; i < RATING_BLOCK; i++)
            most[i] = z[k][i] > most[i] ? z[k][i] : most[i];
    for (ptrdiff_t k = 0; k < n; k++)
        for (int i = 0; i < RATING_BLOCK; i++) {
            z[k][i] = dg_exp(z[k][i] - most[i]);
            sum[i] += z[k][i];
        }
    for (int i = 0; i < RATING_BLOCK; i++)
        sum[i] = 1.0f / sum[i];
    for (ptrdiff_t k = 0; k < n; k++)
        for (int i = 0; i < RATING_BLOCK; i++) {
            z[k][i] *= sum[i];
            expected[i] = DG_FMA(z[k][i], model->scale[k], expected[i]);
        }
    /* rounding must not leave the scale */
    for (int i = 0; i < RATING_BLOCK; i++)
        expected[i] = dg_clamp(expected[i], model->scale[0], model->scale[n - 1]);
}

static void ratings_pairs(const struct dg_ratings_model *model, const float *hidden,
                          const int64_t *row, const int32_t *column, ptrdiff_t n,
                          float *probabilities, float *expected)
{
    float z[RATING_MOST_VALUES][RATING_BLOCK], own[RATING_MOST_VALUES + 8], mean[RATING_BLOCK];
    ptrdiff_t n_values = model->n_values;
    memset(z, 0, sizeof z);
    for (ptrdiff_t first = 0; first < n; first += RATING_BLOCK) {
        ptrdiff_t width = dg_min(RATING_BLOCK, n - first);
        for (ptrdiff_t i = 0; i < width; i++) {
            fields_at(model, column[first + i], hidden + row[first + i] * model->width, own);
            for (ptrdiff_t k = 0; k < n_values; k++)
                z[k][i] = own[k];
        }
        block_softmax(model, z, mean);
        for (ptrdiff_t i = 0; i < width; i++) {
            if (expected)
                expected[first + i] = mean[i];
            if (probabilities)
                for (ptrdiff_t k = 0; k < n_values; k++)
                    probabilities[(first + i) * n_values + k] = z[k][i];
        }
    }
}

#ifdef TOTAL4
/* z[k][r] = w[k, :] . h[r, :] for four rows and n values: what `dots` gives, four rows at a time. */
DG_INLINE void dots4(const float *w, const float *h, ptrdiff_t width, const int n, float z[][4])
{
    VEC sum[TOGETHER][4];
    for (int k = 0; k < n; k++)
        for (int r = 0; r < 4; r++)
            sum[k][r] = SET1(0.0f);
    for (ptrdiff_t f = 0; f < width; f += RATING_LANES) {
        VEC x[4];
        for (int r = 0; r < 4; r++)
            x[r] = LOAD(h + r * width + f);
        for (int k = 0; k < n; k++) {
            VEC line = LOAD(w + k * width + f);
            for (int r = 0; r < 4; r++)
                sum[k][r] = FMA(line, x[r], sum[k][r]);
        }
    }
    for (int k = 0; k < n; k++)
        TOTAL4(sum[k], z[k]);
}

static void fields_of_four(const struct dg_ratings_model *model, int32_t column, const float *h,
                           float z[RATING_MOST_VALUES][4])
{
    const float *w = weights_of(model, column), *bias = model->bias + column * model->n_values;
    ptrdiff_t n = model->n_values, width = model->width, k = 0;
    for (; k + TOGETHER <= n; k += TOGETHER)
        dots4(w + k * width, h, width, TOGETHER, z + k);
    switch (n - k) {
#define REST(count) \
    case count: \
        dots4(w + k * width, h, width, count, z + k); \
        break;
        REST(1) REST(2) REST(3) REST(4)
#undef REST
    }
    for (k = 0; k < n; k++)
        for (int r = 0; r < 4; r++)
            z[k][r] += bias[k];
}
#endif

/* All rows by at most RATING_BLOCK columns; see dg_ratings_scores. */
static void ratings_block(const struct dg_ratings_model *model, const float *hidden,
                          ptrdiff_t n_rows, const int32_t *column, ptrdiff_t n, int top,
                          float *scores, ptrdiff_t row_stride, ptrdiff_t column_stride)
{
    float z[RATING_MOST_VALUES][RATING_BLOCK], own[RATING_MOST_VALUES + 8], mean[RATING_BLOCK];
    ptrdiff_t n_values = model->n_values;
    memset(z, 0, sizeof z);
#ifdef TOTAL4
    float four[RATING_MOST_VALUES][4], of_rows[4][RATING_MOST_VALUES][RATING_BLOCK];
#endif
    for (ptrdiff_t r = 0; r < n_rows; r++) {
#ifdef TOTAL4
        ptrdiff_t in_group = r % 4, whole = r - in_group + 4 <= n_rows;
        if (whole && in_group == 0)
            for (ptrdiff_t i = 0; i < n; i++) {
                fields_of_four(model, column[i], hidden + r * model->width, four);
                for (ptrdiff_t k = 0; k < n_values; k++)
                    for (int q = 0; q < 4; q++)
                        of_rows[q][k][i] = four[k][q];
            }
        if (whole)
            for (ptrdiff_t k = 0; k < n_values; k++)
                memcpy(z[k], of_rows[in_group][k], (size_t)n * sizeof(float));
        else
#endif
            for (ptrdiff_t i = 0; i < n; i++) {
                fields_at(model, column[i], hidden + r * model->width, own);
                for (ptrdiff_t k = 0; k < n_values; k++)
                    z[k][i] = own[k];
            }
        block_softmax(model, z, mean);
        const float *score = top ? z[n_values - 1] : mean;
        for (ptrdiff_t i = 0; i < n; i++)
            scores[r * row_stride + i * column_stride] = score[i];
    }
}

/* --- learning --------------------------------------------------------------------------------- */

struct row_scratch {
    float *field, *mean, *slope, *first_mean;
    uint32_t *words;   /* (n rounded up to 32) */
    uint8_t *masked;   /* (n,) */
    uint8_t *negative; /* (n,) values of the negative phase */
};

static struct row_scratch cut_scratch(const struct dg_ratings_model *model, ptrdiff_t longest,
                                      void *memory)
{
    struct dg_arena arena = {memory, 0};
    struct row_scratch s;
    size_t vector = (size_t)dg_round_up(model->width, 32) * sizeof(float);
    size_t n = (size_t)dg_round_up(longest, 32);
    s.field = dg_take(&arena, vector);
    s.mean = dg_take(&arena, vector);
    s.slope = dg_take(&arena, vector);
    s.first_mean = dg_take(&arena, vector);
    s.words = dg_take(&arena, n * sizeof(uint32_t));
    s.masked = dg_take(&arena, n);
    s.negative = dg_take(&arena, n);
    return s;
}

static ptrdiff_t longest_of(const struct dg_ratings *rows)
{
    ptrdiff_t longest = 0, n;
    for (ptrdiff_t r = 0; r < rows->n_rows; r++) {
        range_of(rows, r, &n);
        longest = n > longest ? n : longest;
    }
    return longest;
}

/* words[j] = word 32 (1 + sweep n_groups) + j of a row, n rounded up to groups of 32. The first 32
 * words of a row belong to draws of the row as a whole. */
static void draw_words(const struct dg_stream *stream, int64_t row, ptrdiff_t n, int sweep,
                       uint32_t *words)
{
    uint32_t n_groups = (uint32_t)((n + 31) / 32);
    for (uint32_t g = 0; g < n_groups; g++)
        dg_words32(stream, row, 8 * (1 + (uint32_t)sweep * n_groups + g), words + 32 * g);
}

/* One step down the loss of a masked rating, in one visit of its column's weights:
 *
 *     slope[:]      += sum_k g[k] weights[k, :]
 *     weights[k, :] -= rate (g[k] h + decay weights[k, :])        bias[k] -= rate g[k]
 */
DG_INLINE void step_masked(float *w, ptrdiff_t width, ptrdiff_t n_values, const float *h,
                           const float *g, float shrink, float rate, float *slope)
{
    VEC keep = SET1(shrink);
    VEC zero = SET1(0.0f);
    for (ptrdiff_t f = 0; f < width; f += LANES) {
        VEC x = LOAD(h + f), s = LOAD(slope + f);
        for (ptrdiff_t k = 0; k < n_values; k++) {
            float *here = w + k * width + f;
            VEC old = LOAD(here);
            s = FMA(SET1(g[k]), old, s);
            STORE(here, FMA(SET1(-rate * g[k]), x, FMA(keep, old, zero)));
        }
        STORE(slope + f, s);
    }
}

/* x = shrink x + factor change, vectors of `width` */
DG_INLINE void step_line(float *x, const float *change, ptrdiff_t width, float shrink, float factor)
{
    VEC keep = SET1(shrink), by = SET1(factor), zero = SET1(0.0f);
    for (ptrdiff_t f = 0; f < width; f += LANES)
        STORE(x + f, FMA(by, LOAD(change + f), FMA(keep, LOAD(x + f), zero)));
}

/* Masked prediction of each row, with h = logistic(field of what is not masked):
 *
 *     loss = sum over masked ratings (1 - a) (-log p_v) + a (E - s_v)^2,    E = sum_k p_k s_k
 *     g_k  = (1 - a) (p_k - [k = v]) + 2 a (E - s_v) p_k (s_k - E)          by the field of value k
 *     d    = (sum over masked, k  g_k weights_k) h (1 - h)                  by the hidden field
 *
 * All gradients are those at the parameters before the row: h does not change while the columns of
 * masked ratings are visited, and no column is there twice. */
static void learn_masked(const struct dg_ratings_model *model, const struct dg_ratings *rows,
                         const struct dg_ratings_step *step, const struct dg_stream *stream,
                         struct dg_ratings_sums *sums, void *scratch)
{
    struct row_scratch s = cut_scratch(model, longest_of(rows), scratch);
    ptrdiff_t width = model->width, n_values = model->n_values;
    float shrink = 1.0f - step->rate * step->decay, z[RATING_MOST_VALUES + 8] = {0};
    float p[RATING_MOST_VALUES + 8], g[RATING_MOST_VALUES + 8];
    for (ptrdiff_t r = 0; r < rows->n_rows; r++) {
        ptrdiff_t n;
        int64_t start = range_of(rows, r, &n), row = rows->order ? rows->order[r] : r;
        const int32_t *column = rows->columns + start;
        const uint8_t *value = rows->values + start;
        uint32_t of_row[32];
        dg_words32(stream, row, 0, of_row);
        float share = step->fewest + (step->most - step->fewest) * dg_uniform(of_row[0]);
        draw_words(stream, row, n, 0, s.words);
        for (ptrdiff_t j = 0; j < n; j++)
            s.masked[j] = dg_uniform(s.words[j]) < share;
        field_of(model, column, value, s.masked, n, s.field);
        ratings_logistic(s.field, model->n_hidden, width, s.mean);
        memset(s.slope, 0, (size_t)width * sizeof(float));
        for (ptrdiff_t j = 0; j < n; j++) {
            if (!s.masked[j])
                continue;
            float *w = (float *)weights_of(model, column[j]);
            if (j + 1 < n && s.masked[j + 1]) {
                const float *next = weights_of(model, column[j + 1]);
                for (ptrdiff_t f = 0; f < n_values * width; f += 16)
                    __builtin_prefetch(next + f, 1);
            }
            float *bias = model->bias + column[j] * n_values;
            fields_at(model, column[j], s.mean, z);
            float log_sum = softmax(z, n_values, p), expected = 0.0f;
            int v = value[j];
            for (ptrdiff_t k = 0; k < n_values; k++)
                expected = DG_FMA(p[k], model->scale[k], expected);
            float error = expected - model->scale[v];
            for (ptrdiff_t k = 0; k < n_values; k++) {
                float cross = p[k] - (k == v ? 1.0f : 0.0f);
                float bend = 2.0f * error * p[k] * (model->scale[k] - expected);
                g[k] = (1.0f - step->squared) * cross + step->squared * bend;
                bias[k] -= step->rate * g[k];
            }
            step_masked(w, width, n_values, s.mean, g, shrink, step->rate, s.slope);
            sums->loss += log_sum - z[v];
            sums->squared += error * error;
            sums->n++;
        }
        for (ptrdiff_t f = 0; f < width; f++)
            s.slope[f] *= s.mean[f] * (1.0f - s.mean[f]);
        float *conditional = model->conditional;
        float rated = step->rate * step->conditional_rate;
        float keep = 1.0f - rated * step->decay;
        for (ptrdiff_t j = 0; j < n; j++) {
            if (!s.masked[j])
                step_line((float *)weights_of(model, column[j]) + value[j] * width, s.slope, width,
                          shrink, -step->rate);
            if (conditional)
                step_line(conditional + column[j] * width, s.slope, width, keep, -rated);
        }
        step_line(model->hidden_bias, s.slope, width, 1.0f, -step->rate * step->hidden_rate);
    }
}

/* state[f] = 1 with probability mean[f], for one row and sweep, as floats */
static void draw_hidden(const struct dg_ratings_model *model, const struct dg_stream *stream,
                        int64_t row, int sweep, const float *mean, float *state)
{
    struct dg_stream hidden = *stream;
    uint32_t words[32], n_groups = (uint32_t)((model->width + 31) / 32);
    hidden.purpose += 1u << 16; /* of the next layer */
    for (uint32_t g = 0; g < n_groups; g++) {
        dg_words32(&hidden, row, 8 * ((uint32_t)sweep * n_groups + g), words);
        ptrdiff_t n = dg_min(32, model->width - 32 * (ptrdiff_t)g);
        for (ptrdiff_t i = 0; i < n; i++)
            state[32 * g + i] = dg_uniform(words[i]) < mean[32 * g + i] ? 1.0f : 0.0f;
    }
}

/* Contrastive divergence of each row, h0 = logistic(field of all its ratings):
 *
 *     sweep: v'_j ~ softmax(bias + weights h),    h' = logistic(field of v')
 *     weights[j, v_j] += rate h0    weights[j, v'_j] -= rate h'    bias[j, k] += rate ([k = v_j] - p)
 *     hidden bias, conditional += rates (h0 - h')
 *
 * from h ~ h0, or from the row's persistent hidden state. A persistent state of 255 has not begun:
 * it begins with h0. p are the probabilities that v' of the last sweep was drawn from. The loss is
 * that of the ratings given the first h. */
static void learn_chains(const struct dg_ratings_model *model, const struct dg_ratings *rows,
                         const struct dg_ratings_step *step, const struct dg_stream *stream,
                         struct dg_ratings_sums *sums, void *scratch)
{
    struct row_scratch s = cut_scratch(model, longest_of(rows), scratch);
    ptrdiff_t width = model->width, n_values = model->n_values;
    float shrink = 1.0f - step->rate * step->decay;
    float z[RATING_MOST_VALUES + 8] = {0}, p[RATING_MOST_VALUES + 8];
    float rated = step->rate * step->conditional_rate, keep = 1.0f - rated * step->decay;
    for (ptrdiff_t r = 0; r < rows->n_rows; r++) {
        ptrdiff_t n;
        int64_t start = range_of(rows, r, &n), row = rows->order ? rows->order[r] : r;
        const int32_t *column = rows->columns + start;
        const uint8_t *value = rows->values + start;
        uint8_t *particle = step->particles ? step->particles + row * model->n_hidden : NULL;
        float *state = s.slope;
        field_of(model, column, value, NULL, n, s.field);
        ratings_logistic(s.field, model->n_hidden, width, s.first_mean);
        if (particle && particle[0] != 255) {
            for (ptrdiff_t f = 0; f < width; f++)
                state[f] = f < model->n_hidden ? (float)particle[f] : 0.0f;
        } else
            draw_hidden(model, stream, row, 0, s.first_mean, state);
        for (int sweep = 0; sweep < step->n_sweeps; sweep++) {
            draw_words(stream, row, n, sweep, s.words);
            for (ptrdiff_t j = 0; j < n; j++) {
                int v = value[j];
                fields_at(model, column[j], state, z);
                float log_sum = softmax(z, n_values, p), u = dg_uniform(s.words[j]), below = p[0];
                int drawn = 0;
                while (drawn + 1 < n_values && u >= below)
                    below += p[++drawn];
                s.negative[j] = (uint8_t)drawn;
                if (sweep == 0) {
                    float expected = 0.0f;
                    for (ptrdiff_t k = 0; k < n_values; k++)
                        expected = DG_FMA(p[k], model->scale[k], expected);
                    float error = expected - model->scale[v];
                    sums->loss += log_sum - z[v];
                    sums->squared += error * error;
                    sums->n++;
                }
                if (sweep + 1 == step->n_sweeps) {
                    float *bias = model->bias + column[j] * n_values;
                    for (ptrdiff_t k = 0; k < n_values; k++)
                        bias[k] -= step->rate * (p[k] - (k == v ? 1.0f : 0.0f));
                }
            }
            field_of(model, column, s.negative, NULL, n, s.field);
            ratings_logistic(s.field, model->n_hidden, width, s.mean);
            draw_hidden(model, stream, row, sweep + 1, s.mean, state);
        }
        if (particle)
            for (ptrdiff_t f = 0; f < model->n_hidden; f++)
                particle[f] = (uint8_t)state[f];
        float *difference = s.field;
        for (ptrdiff_t f = 0; f < width; f++)
            difference[f] = s.first_mean[f] - s.mean[f];
        for (ptrdiff_t j = 0; j < n; j++) {
            float *w = (float *)weights_of(model, column[j]);
            VEC by = SET1(shrink), zero = SET1(0.0f);
            for (ptrdiff_t i = 0; i < n_values * width; i += LANES)
                STORE(w + i, FMA(by, LOAD(w + i), zero));
            step_line(w + value[j] * width, s.first_mean, width, 1.0f, step->rate);
            step_line(w + s.negative[j] * width, s.mean, width, 1.0f, -step->rate);
            if (model->conditional)
                step_line(model->conditional + column[j] * width, difference, width, keep, rated);
        }
        step_line(model->hidden_bias, difference, width, 1.0f, step->rate * step->hidden_rate);
    }
}

const struct dg_ratings_ops OPS = {
    ratings_fields, ratings_logistic, ratings_pairs, ratings_block, learn_masked, learn_chains,
};

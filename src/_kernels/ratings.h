/* Machines of ratings: each visible unit is one of K values or absent, and a row tells which it has.
 * See docs/math.md, "Ratings". What a pass costs is in proportion to the ratings, not to the columns.
 *
 *     weights (n_columns, K, width)    conditional (n_columns, width) or NULL: whether it is rated
 *     bias    (n_columns, K)           hidden_bias (width,)
 *
 * `width` is the number of hidden units rounded up to RATING_LANES; weights and hidden means are
 * zero from n_hidden on, and stay so.
 */
#ifndef DEEPGEN_RATINGS_H
#define DEEPGEN_RATINGS_H

#include "philox.h"

/* Lanes of a sum over hidden units: part of the definition, whatever the vectors are. */
#define RATING_LANES 16
#define RATING_MOST_VALUES 20
/* Columns, or pairs, whose softmax is computed side by side. */
#define RATING_BLOCK 64

struct dg_ratings_model {
    float *weights, *bias, *hidden_bias, *conditional;
    const float *scale; /* (K,) the values that ratings can have */
    ptrdiff_t n_columns, n_values, n_hidden, width;
};

/* Compressed rows of ratings; `order` names the rows that are meant, NULL: the first n_rows. */
struct dg_ratings {
    const int64_t *starts;
    const int32_t *columns;
    const uint8_t *values; /* numbers of values in the scale */
    const int64_t *order;
    ptrdiff_t n_rows;
};

/* One pass of learning over rows, a step after each. Rates of what is shared by all rows (hidden
 * bias) and of the conditional weights are the rate times a factor. */
struct dg_ratings_step {
    float rate, decay, hidden_rate, conditional_rate;
    float fewest, most; /* masked prediction: the share of a row that is masked lies between them */
    float squared;      /* share of the squared error in the loss, the other is cross-entropy */
    int n_sweeps;       /* contrastive divergence: Gibbs sweeps */
    uint8_t *particles; /* (rows of all, n_hidden) persistent hidden states, or NULL */
};

/* Sums over what a pass of learning looked at. */
struct dg_ratings_sums {
    double loss, squared;
    int64_t n;
};

struct dg_ratings_ops {
    void (*fields)(const struct dg_ratings_model *model, const struct dg_ratings *rows,
                   ptrdiff_t r, float *field);
    void (*logistic)(const float *field, ptrdiff_t n_hidden, ptrdiff_t width, float *mean);
    void (*pairs)(const struct dg_ratings_model *model, const float *hidden, const int64_t *row,
                  const int32_t *column, ptrdiff_t n, float *probabilities, float *expected);
    void (*block)(const struct dg_ratings_model *model, const float *hidden, ptrdiff_t n_rows,
                  const int32_t *column, ptrdiff_t n, int top, float *scores, ptrdiff_t row_stride,
                  ptrdiff_t column_stride);
    void (*learn_masked)(const struct dg_ratings_model *model, const struct dg_ratings *rows,
                         const struct dg_ratings_step *step, const struct dg_stream *stream,
                         struct dg_ratings_sums *sums, void *scratch);
    void (*learn_chains)(const struct dg_ratings_model *model, const struct dg_ratings *rows,
                         const struct dg_ratings_step *step, const struct dg_stream *stream,
                         struct dg_ratings_sums *sums, void *scratch);
};

extern const struct dg_ratings_ops dg_ratings_generic;
#ifdef __x86_64__
extern const struct dg_ratings_ops dg_ratings_avx2;
extern const struct dg_ratings_ops dg_ratings_avx512;
#endif

/* mean[r, :] = logistic(field of row r), (n_rows, width); `quantity` 1: the field itself. */
void dg_ratings_hidden(const struct dg_ratings_model *model, const struct dg_ratings *rows,
                       int quantity, float *out, int n_threads);

/* probabilities (n, K) and expected ratings (n,), each where not NULL, of pairs of a row of hidden
 * means (.., width) and a column. */
void dg_ratings_pairs(const struct dg_ratings_model *model, const float *hidden,
                      const int64_t *row, const int32_t *column, ptrdiff_t n,
                      float *probabilities, float *expected, int n_threads);

/* scores[r * row_stride + c * column_stride] for all rows of hidden means and `n` columns (by
 * number, or NULL: the first n): the expected rating, or with `top` the probability of the highest
 * value. */
void dg_ratings_scores(const struct dg_ratings_model *model, const float *hidden, ptrdiff_t n_rows,
                       const int32_t *column, ptrdiff_t n, int top, float *scores,
                       ptrdiff_t row_stride, ptrdiff_t column_stride, int n_threads);

/* The `n` highest of each row of scores that are no NaN, with their columns, the highest first and
 * of equal ones the lower column; columns -1 and NaN where there are no more. */
void dg_ratings_top(const float *scores, ptrdiff_t n_rows, ptrdiff_t n_columns, ptrdiff_t n,
                    int64_t *ids, float *top, int n_threads);

/* Masked prediction (chains 0), or contrastive divergence with persistent hidden states or without
 * (chains 1): one row after the other, on one thread. `stream->first_row` is 0: draws belong to the
 * number of a row in `rows`. */
void dg_ratings_learn(const struct dg_ratings_model *model, const struct dg_ratings *rows,
                      const struct dg_ratings_step *step, const struct dg_stream *stream,
                      int chains, struct dg_ratings_sums *sums, void *scratch);
size_t dg_ratings_learn_bytes(const struct dg_ratings_model *model, ptrdiff_t longest);

#endif

/* What a unit does with its field, kind by kind: `width` columns of one row of a layer.
 *
 * With the base measures of conditional.c and the float64 twins of enumerate.c the only place that
 * knows unit kinds; the kind is switched on once for a row of a tile.
 * Elementwise kinds compute whole tiles (fixed trip counts vectorize best); arrays have room, and
 * what lies beyond `width` is never stored.
 * `field` and `precision` are already tempered. Formulas: docs/math.md, section "Units".
 */
#ifndef DEEPGEN_UNITS_H
#define DEEPGEN_UNITS_H

#include <float.h>
#include <string.h>

#include "chain.h"
#include "elementwise.h"
#include "philox.h"

#define DG_TILE 32
#define DG_LOG_2PI 1.8378770664093453

/* Columns of one task: 32, or whole groups; of a mixed layer at most. */
static inline ptrdiff_t dg_block_width(const struct layer *layer)
{
    if (layer->n_parts) {
        ptrdiff_t widest = 0;
        for (ptrdiff_t b = 0; b < layer->n_blocks; b++) {
            ptrdiff_t width = (ptrdiff_t)(layer->blocks[b + 1] - layer->blocks[b]);
            widest = width > widest ? width : widest;
        }
        return widest;
    }
    if (layer->group == 1)
        return DG_TILE;
    return layer->group >= DG_TILE ? layer->group : DG_TILE / layer->group * layer->group;
}

/* P(X > k) of a binomial with success probability p and n trials, summed from the far side:
 *
 *     sum_(i = k + 1)^n  (n over i) p^i (1 - p)^(n - i),    by products alone: no lgamma, no pow */
static inline float dg_binomial_survival(float p, int n, int k)
{
    double success = p, failure = 1.0 - success, survival = 0.0;
    for (int i = n; i > k; i--) {
        double pmf = 1.0;
        for (int trial = 0; trial < i; trial++)
            pmf *= success * (double)(n - trial) / (double)(trial + 1);
        for (int trial = i; trial < n; trial++)
            pmf *= failure;
        survival += pmf;
    }
    return (float)survival;
}

/* The largest of the fields; by lanes, since a single chain of comparisons waits for each. */
DG_INLINE float dg_top_field(ptrdiff_t width, const float *field)
{
    float lanes[16], top = field[0];
    ptrdiff_t whole = width / 16 * 16;
    for (int lane = 0; lane < 16; lane++)
        lanes[lane] = top;
    for (ptrdiff_t j = 0; j < whole; j += 16)
        for (int lane = 0; lane < 16; lane++)
            lanes[lane] = field[j + lane] > lanes[lane] ? field[j + lane] : lanes[lane];
    for (int lane = 0; lane < 16; lane++)
        top = lanes[lane] > top ? lanes[lane] : top;
    for (ptrdiff_t j = whole; j < width; j++)
        top = field[j] > top ? field[j] : top;
    return top;
}

/* out[j] = exp(field[j] - the largest field), which is returned, and *total their sum: float64, in
 * eight lanes by column, which is part of the definition. */
DG_INLINE float dg_exponentials(ptrdiff_t width, const float *field, float *out, double *total)
{
    double lanes[8] = {0.0};
    ptrdiff_t whole = width / 8 * 8;
    float top = dg_top_field(width, field);
    for (ptrdiff_t j = 0; j < width; j++)
        out[j] = dg_exp(field[j] - top);
    for (ptrdiff_t j = 0; j < whole; j += 8)
        for (int lane = 0; lane < 8; lane++)
            lanes[lane] += (double)out[j + lane];
    for (ptrdiff_t j = whole; j < width; j++)
        lanes[j - whole] += (double)out[j];
    *total = ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
             ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
    return top;
}

/* Sum of n <= 8 means as float64, of eight in pairs. */
DG_INLINE double dg_sum_of_eight(const float *mean, ptrdiff_t n)
{
    double lanes[8] = {0.0};
    if (n >= 8)
        for (int lane = 0; lane < 8; lane++)
            lanes[lane] = (double)mean[lane];
    else
        for (ptrdiff_t lane = 0; lane < n; lane++)
            lanes[lane] = (double)mean[lane];
    return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
           ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

/* Counts of `trials` draws of one of `width` columns each, in proportion to mean: the partial sums
 * of trials + 1 exponential draws, divided by their total, are that many uniforms in order, and one
 * walk along the cumulated means meets them all: over eight columns at a time, and then over single
 * ones. Word t of the row belongs to draw t. The spacings of the first draws are kept, those of
 * more draws made twice. */
#define DG_KEPT 128
DG_INLINE void dg_multinomial_draw(ptrdiff_t width, int64_t trials, const float *mean,
                                   const struct dg_stream *stream, int64_t row, float *sample)
{
    uint32_t words[32];
    float kept[DG_KEPT], more[32];
    double total = 0.0, sum = 0.0, at = 0.0, factor = 0.0, below = 0.0, eight, cumulative;
    ptrdiff_t j = 0, first = 0; /* the column, and the eight that it is in */
    memset(sample, 0, (size_t)width * sizeof *sample);
    if (!trials)
        return;
    for (ptrdiff_t k = 0; k < width; k += 8)
        total += dg_sum_of_eight(mean + k, width - k);
    eight = dg_sum_of_eight(mean, width);
    cumulative = (double)mean[0];
    for (int again = 0; again < 2; again++) { /* first their sum, then the draws */
        for (int64_t t = 0; t <= trials; t += 32) {
            float *spacing = t < DG_KEPT ? kept + t : more;
            if (!again || t >= DG_KEPT) {
                dg_words32(stream, row, (uint32_t)(t / 4), words);
                for (int i = 0; i < 32; i++)
                    spacing[i] = -dg_log(dg_uniform(words[i]));
            }
            int n = (int)(trials + 1 - t < 32 ? trials + 1 - t : 32);
            if (!again) {
                for (int i = 0; i < n; i++)
                    sum += (double)spacing[i];
                continue;
            }
            for (int i = 0; i < n && t + i < trials; i++) {
                at += (double)spacing[i];
                double place = at * factor;
                while (first + 8 < width && place >= below + eight) {
                    below += eight;
                    first += 8;
                    eight = dg_sum_of_eight(mean + first, width - first);
                    j = first;
                    cumulative = below + (double)mean[j];
                }
                while (j < width - 1 && j < first + 7 && place >= cumulative)
                    cumulative += (double)mean[++j];
                sample[j] += 1.0f;
            }
        }
        factor = total / sum;
    }
}

/* mean[j] = E[x_j | field] of `width` columns of one row; f the field:
 *
 *     binary     n_copies / (1 + exp(-f))      gaussian   f / precision
 *     softmax    exp(f) / sum of exp(f) over the group, the largest field taken out
 *     multinomial  trials times that over all columns
 *     linear     f                             rectified  max(f, 0) */
DG_INLINE void dg_units_mean(const struct layer *layer, ptrdiff_t width, int64_t trials,
                             const float *field, const float *precision, float *mean)
{
    switch (layer->kind) {
    case DG_BINARY: {
        float copies = (float)layer->n_copies;
        for (int j = 0; j < DG_TILE; j++)
            mean[j] = copies * dg_logistic(field[j]);
        break;
    }
    case DG_GAUSSIAN:
        for (int j = 0; j < DG_TILE; j++)
            mean[j] = field[j] / precision[j];
        break;
    case DG_SOFTMAX:
        for (ptrdiff_t g = 0; g < width; g += layer->group) {
            float top = field[g], total = 0.0f;
            for (ptrdiff_t j = g + 1; j < g + layer->group; j++)
                top = field[j] > top ? field[j] : top;
            for (ptrdiff_t j = g; j < g + layer->group; j++)
                mean[j] = dg_exp(field[j] - top);
            for (ptrdiff_t j = g; j < g + layer->group; j++)
                total += mean[j];
            for (ptrdiff_t j = g; j < g + layer->group; j++) {
                mean[j] /= total;
                mean[j] = mean[j] < FLT_MIN ? FLT_MIN : mean[j]; /* normal, and never zero */
            }
        }
        break;
    case DG_MULTINOMIAL: {
        double total;
        dg_exponentials(width, field, mean, &total);
        for (ptrdiff_t j = 0; j < width; j++) {
            float p = mean[j] / (float)total;
            mean[j] = (float)trials * (p < FLT_MIN ? FLT_MIN : p); /* normal, or zero trials */
        }
        break;
    }
    case DG_LINEAR:
        for (int j = 0; j < DG_TILE; j++)
            mean[j] = field[j];
        break;
    case DG_RECTIFIED:
        for (int j = 0; j < DG_TILE; j++)
            mean[j] = field[j] < 0.0f ? 0.0f : field[j]; /* not-a-number stays */
        break;
    }
}

/* sample[j] ~ p(x_j | field) of `width` columns of one row from column `first` of the layer, or of
 * a mixed layer's part, on, given their means; u is a uniform of the column, or of the group:
 *
 *     binary     how many k < n_copies have u < P(X > k): the inverse of the distribution function
 *     gaussian   mean + normal / sqrt(precision), normals by Box and Muller from the two uniforms
 *                of a pair of columns
 *     softmax    the first column whose cumulated means exceed u, else the last of the group
 *     multinomial  counts, see dg_multinomial_draw */
DG_INLINE void dg_units_draw(const struct layer *layer, ptrdiff_t first, ptrdiff_t width,
                             int64_t trials, const float *precision, const float *mean,
                             const struct dg_stream *stream, int64_t row, float *sample)
{
    uint32_t words[DG_TILE];
    float u[DG_TILE];
    if (layer->kind != DG_SOFTMAX && layer->kind != DG_MULTINOMIAL) {
        dg_words32(stream, row, (uint32_t)((layer->first_word + first) / 4), words);
        for (int j = 0; j < DG_TILE; j++)
            u[j] = dg_uniform(words[j]);
    }
    switch (layer->kind) {
    case DG_BINARY:
        if (layer->n_copies == 1) {
            for (int j = 0; j < DG_TILE; j++)
                sample[j] = u[j] < mean[j] ? 1.0f : 0.0f;
            break;
        }
        for (ptrdiff_t j = 0; j < width; j++) {
            sample[j] = 0.0f;
            for (int k = 0; k < layer->n_copies; k++) {
                float p = mean[j] / (float)layer->n_copies;
                sample[j] += u[j] < dg_binomial_survival(p, layer->n_copies, k) ? 1.0f : 0.0f;
            }
        }
        break;
    case DG_GAUSSIAN: {
        float normal[DG_TILE];
        for (int j = 0; j < DG_TILE; j += 2)
            dg_normal_pair(u[j], u[j + 1], normal + j, normal + j + 1);
        for (int j = 0; j < DG_TILE; j++)
            sample[j] = mean[j] + normal[j] / sqrtf(precision[j]);
        break;
    }
    case DG_SOFTMAX:
        for (ptrdiff_t g = 0; g < width; g += layer->group) {
            uint32_t site = (uint32_t)(layer->first_word + (first + g) / layer->group);
            dg_words32(stream, row, site / 4, words);
            float uniform = dg_uniform(words[site % 4]), cumulative = 0.0f;
            ptrdiff_t chosen = layer->group - 1;
            for (ptrdiff_t j = 0; j < layer->group; j++) {
                sample[g + j] = 0.0f;
                cumulative += mean[g + j];
                if (uniform < cumulative && j < chosen)
                    chosen = j;
            }
            sample[g + chosen] = 1.0f;
        }
        break;
    case DG_MULTINOMIAL:
        dg_multinomial_draw(width, trials, mean, stream, row, sample);
        break;
    case DG_LINEAR:
    case DG_RECTIFIED:
        break; /* activations: never drawn */
    }
}

/* Means and draws of DG_TILE binary units of one copy in `n_rows` rows, 1 or 2, a constant of the
 * caller: the bits of dg_units_mean and dg_units_draw, in one loop. field: rows `stride` apart; mean,
 * sample: OUT, rows `size` apart, or NULL. */
DG_INLINE void dg_binary_rows(ptrdiff_t first, const float *field, ptrdiff_t stride,
                              const int n_rows, const struct dg_stream *stream, int64_t row,
                              float *mean, uint8_t *sample, ptrdiff_t size)
{
    uint32_t words[2][DG_TILE];
    if (sample)
        dg_words_of_rows(stream, row, n_rows, (uint32_t)(first / 4), words);
    for (int i = 0; i < n_rows; i++) {
        const float *of_row = field + i * stride;
        uint8_t *draws = sample + i * size;
        if (!mean) {
            for (int j = 0; j < DG_TILE; j++)
                draws[j] = dg_uniform(words[i][j]) < dg_logistic(of_row[j]) ? 1 : 0;
            continue;
        }
        float means[DG_TILE];
        for (int j = 0; j < DG_TILE; j++)
            means[j] = dg_logistic(of_row[j]);
        memcpy(mean + i * size, means, sizeof means);
        if (sample)
            for (int j = 0; j < DG_TILE; j++)
                draws[j] = dg_uniform(words[i][j]) < means[j] ? 1 : 0;
    }
}

/* Sum over these units of log sum_x exp(f x + log base measure), f the field:
 *
 *     binary     n_copies log(1 + exp(f))      softmax    log sum exp(f) over each group
 *     gaussian   (f^2 / precision + log 2 pi - log precision) / 2
 *     multinomial  trials log sum exp(f) over all columns
 *
 * Terms are added in eight float64 lanes by column, and these in one order: part of the definition,
 * so that every instruction set gives the same bits. */
DG_INLINE double dg_units_log_normalizer(const struct layer *layer, ptrdiff_t width,
                                         int64_t trials, const float *field,
                                         const float *precision)
{
    double lanes[8] = {0.0};
    float term[DG_TILE] = {0.0f};
    switch (layer->kind) {
    case DG_BINARY:
        for (int j = 0; j < DG_TILE; j++)
            term[j] = dg_softplus(field[j]);
        for (ptrdiff_t j = width; j < DG_TILE; j++)
            term[j] = 0.0f;
        for (int j = 0; j < DG_TILE; j += 8)
            for (int lane = 0; lane < 8; lane++)
                lanes[lane] += (double)term[j + lane];
        for (int lane = 0; lane < 8; lane++)
            lanes[lane] *= (double)layer->n_copies;
        break;
    case DG_GAUSSIAN:
        for (ptrdiff_t j = 0; j < width; j++) {
            double f = field[j], p = precision[j];
            lanes[j % 8] += 0.5 * (f * f / p + DG_LOG_2PI - log(p));
        }
        break;
    case DG_SOFTMAX:
        for (ptrdiff_t g = 0; g < width; g += layer->group) {
            float top = field[g];
            double total = 0.0;
            for (ptrdiff_t j = g + 1; j < g + layer->group; j++)
                top = field[j] > top ? field[j] : top;
            for (ptrdiff_t j = g; j < g + layer->group; j++)
                total += (double)dg_exp(field[j] - top);
            lanes[0] += (double)top + log(total);
        }
        break;
    case DG_MULTINOMIAL: {
        float top = field[0];
        for (ptrdiff_t j = 1; j < width; j++)
            top = field[j] > top ? field[j] : top;
        for (ptrdiff_t j = 0; j < width; j += DG_TILE) {
            ptrdiff_t n = width - j < DG_TILE ? width - j : DG_TILE;
            for (ptrdiff_t k = 0; k < n; k++)
                term[k] = dg_exp(field[j + k] - top);
            for (ptrdiff_t k = n; k < DG_TILE; k++)
                term[k] = 0.0f;
            for (int k = 0; k < DG_TILE; k += 8)
                for (int lane = 0; lane < 8; lane++)
                    lanes[lane] += (double)term[k + lane];
        }
        double total = ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
                       ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
        return (double)trials * ((double)top + log(total));
    }
    case DG_LINEAR:
    case DG_RECTIFIED:
        break; /* activations: no distribution to normalize */
    }
    return ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) +
           ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
}

#endif

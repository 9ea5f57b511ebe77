/* The tile operations, stated once over a few vector macros that the including file defines:
 *
 *   VEC          a vector of LANES floats       LOAD(p) STORE(p, v) SET1(x) FMA(a, b, c)
 *                MUL(a, b) SUB(a, b)
 *   BITS         LANES 32-bit integers          NO_BITS: zeros; MOST_BITS(most, v): the larger of
 *                most and the bits of |v|; STORE_BITS(p, most)
 *   MICRO_ROWS   rows of the dense micro kernel MICRO_VECS  vectors of a row of it
 *   TRANSPOSE    (from, stride, to): a LANES x LANES block, rows of `to` DG_TILE apart
 *   FIXED        the products of whole-number states (fixed_point.h)
 *
 * The order of the inputs in each element's chain of fused multiply-adds is the same in every
 * kernel below, and a zero input adds nothing: dense and list kernels give the same bits.
 */
#include "backend.h"
#include "parallel.h"
#include "units.h"

#define MICRO_WIDTH (LANES * MICRO_VECS)

/* Inputs of a dense product that are taken together: a strip of b of so many lines and one
 * micro kernel's width stays in the first-level cache while all rows pass over it. */
#define STRIP 256
/* So many rows pay for the copy of a strip whose lines lie far apart. */
#define STRIP_ROWS 16

/* acc[r, :] += sum_k a[r * stride + k * step] b[k, :]; n_rows is a constant of the caller */
DG_INLINE void dense_micro(const float *a, ptrdiff_t stride, ptrdiff_t step, ptrdiff_t n_inputs,
                           const float *b, ptrdiff_t b_stride, float *acc, ptrdiff_t acc_stride,
                           const int n_rows)
{
    VEC sum[MICRO_ROWS][MICRO_VECS];
    for (int r = 0; r < n_rows; r++)
        for (int v = 0; v < MICRO_VECS; v++)
            sum[r][v] = LOAD(acc + r * acc_stride + v * LANES);
    for (ptrdiff_t k = 0; k < n_inputs; k++) {
        VEC line[MICRO_VECS];
        for (int v = 0; v < MICRO_VECS; v++)
            line[v] = LOAD(b + k * b_stride + v * LANES);
        for (int r = 0; r < n_rows; r++) {
            VEC x = SET1(a[r * stride + k * step]);
            for (int v = 0; v < MICRO_VECS; v++)
                sum[r][v] = FMA(x, line[v], sum[r][v]);
        }
    }
    for (int r = 0; r < n_rows; r++)
        for (int v = 0; v < MICRO_VECS; v++)
            STORE(acc + r * acc_stride + v * LANES, sum[r][v]);
}

/* All rows over one strip. The rows that are left go together: their chains hide each other's
 * latency. */
DG_INLINE void dense_strip(const float *a, ptrdiff_t stride, ptrdiff_t step, ptrdiff_t n_rows,
                           ptrdiff_t n_inputs, const float *b, ptrdiff_t b_stride, float *acc,
                           ptrdiff_t acc_stride)
{
    ptrdiff_t r = 0;
    for (; r + MICRO_ROWS <= n_rows; r += MICRO_ROWS)
        dense_micro(a + r * stride, stride, step, n_inputs, b, b_stride, acc + r * acc_stride,
                    acc_stride, MICRO_ROWS);
    a += r * stride;
    acc += r * acc_stride;
#define REST(n) \
    if (n < MICRO_ROWS && n_rows - r == n) \
        dense_micro(a, stride, step, n_inputs, b, b_stride, acc, acc_stride, \
                    n < MICRO_ROWS ? n : 1);
    REST(1) REST(2) REST(3) REST(4) REST(5) REST(6) REST(7) REST(8) REST(9) REST(10) REST(11)
#undef REST
}

/* acc[r, :] += sum_k a[first + r, k] b[k, :] over dense rows of a, DG_TILE columns of b: strip by
 * strip of the inputs k, and in a strip by columns of one micro kernel. Sums are stored between
 * strips as the floats that they are, so the chain of each element is that of one long loop. */
static void product_dense(const struct dg_operand *a, ptrdiff_t first, ptrdiff_t n_rows,
                          ptrdiff_t n_inputs, const float *b, ptrdiff_t b_stride, float *acc,
                          ptrdiff_t acc_stride)
{
    float strip[STRIP * MICRO_WIDTH] __attribute__((aligned(64)));
    for (ptrdiff_t k = 0; k < n_inputs; k += STRIP) {
        ptrdiff_t n = n_inputs - k < STRIP ? n_inputs - k : STRIP;
        const float *from = a->dense + first * a->stride + k * a->step;
        for (int c = 0; c < DG_TILE; c += MICRO_WIDTH) {
            const float *lines = b + k * b_stride + c;
            ptrdiff_t apart = b_stride;
            if (n_rows >= STRIP_ROWS && b_stride != DG_TILE) {
                for (ptrdiff_t i = 0; i < n; i++)
                    for (int v = 0; v < MICRO_VECS; v++)
                        STORE(strip + i * MICRO_WIDTH + v * LANES,
                              LOAD(lines + i * b_stride + v * LANES));
                lines = strip;
                apart = MICRO_WIDTH;
            }
            if (a->step == 1)
                dense_strip(from, a->stride, 1, n_rows, n, lines, apart, acc + c, acc_stride);
            else
                dense_strip(from, 1, a->step, n_rows, n, lines, apart, acc + c, acc_stride);
        }
    }
}

/* The same for the DG_GROUP rows of one group of lists: entry e of row r adds value times line
 * `index` of b. */
static void product_lists(const struct dg_operand *a, ptrdiff_t group, const float *b,
                          ptrdiff_t b_stride, float *acc, ptrdiff_t acc_stride)
{
    const int32_t *index = a->index + group * a->capacity * DG_GROUP;
    const float *value = a->value + group * a->capacity * DG_GROUP;
    int32_t length = a->length[group];
    for (int c = 0; c < DG_TILE; c += MICRO_WIDTH) {
        VEC sum[DG_GROUP][MICRO_VECS];
        for (int r = 0; r < DG_GROUP; r++)
            for (int v = 0; v < MICRO_VECS; v++)
                sum[r][v] = LOAD(acc + r * acc_stride + c + v * LANES);
        for (int32_t e = 0; e < length; e++)
            for (int r = 0; r < DG_GROUP; r++) {
                const float *line = b + index[e * DG_GROUP + r] * b_stride + c;
                VEC x = SET1(value[e * DG_GROUP + r]);
                for (int v = 0; v < MICRO_VECS; v++)
                    sum[r][v] = FMA(x, LOAD(line + v * LANES), sum[r][v]);
            }
        for (int r = 0; r < DG_GROUP; r++)
            for (int v = 0; v < MICRO_VECS; v++)
                STORE(acc + r * acc_stride + c + v * LANES, sum[r][v]);
    }
}

/* See struct dg_backend, as for all that begins with tile_. */
static void tile_product(const struct dg_operand *a, ptrdiff_t first, ptrdiff_t n_rows,
                         ptrdiff_t n_inputs, const float *b, ptrdiff_t b_stride, float *acc,
                         ptrdiff_t acc_stride)
{
    if (a->dense) {
        product_dense(a, first, n_rows, n_inputs, b, b_stride, acc, acc_stride);
        return;
    }
    for (ptrdiff_t r = 0; r < n_rows; r += DG_GROUP)
        product_lists(a, (first + r) / DG_GROUP, b, b_stride, acc + r * acc_stride, acc_stride);
}

static void tile_add_sums(const int32_t *sums, ptrdiff_t n_rows, float scale, float *field,
                          ptrdiff_t stride)
{
    for (ptrdiff_t r = 0; r < n_rows; r++)
        for (int c = 0; c < DG_TILE; c++)
            field[r * stride + c] =
                DG_FMA(scale, (float)sums[r * DG_TILE + c], field[r * stride + c]);
}

/* natural parameters at this row's temperature: (1 - beta) base + beta model; beyond `width` up
 * to `stride` the field stays zero and the precision is 1 */
static inline void temper(const struct layer *layer, const struct context *context, float beta,
                          ptrdiff_t row, ptrdiff_t first, ptrdiff_t width, ptrdiff_t stride,
                          const float *field, float *tempered, float *precision)
{
    const float *base = context->base_bias;
    if (base)
        base += row * context->base_stride + first;
    for (ptrdiff_t j = 0; j < stride; j++)
        tempered[j] = beta * field[j];
    if (base)
        for (ptrdiff_t j = 0; j < width; j++)
            tempered[j] = DG_FMA(1.0f - beta, base[j], tempered[j]);
    if (!layer->precision)
        return;
    for (ptrdiff_t j = 0; j < width; j++)
        precision[j] = beta * layer->precision[first + j];
    for (ptrdiff_t j = width; j < stride; j++)
        precision[j] = 1.0f;
    if (context->base_precision)
        for (ptrdiff_t j = 0; j < width; j++)
            precision[j] = DG_FMA(1.0f - beta, context->base_precision[first + j], precision[j]);
}

/* out = values, as floats and as bytes; entries that `held` marks keep what `out` has. */
static inline void store_floats(float *out, const float *values, const uint8_t *held,
                                ptrdiff_t width)
{
    if (!held) {
        memcpy(out, values, (size_t)width * sizeof *out);
        return;
    }
    for (ptrdiff_t j = 0; j < width; j++)
        out[j] = held[j] ? out[j] : values[j];
}

static inline void store_bytes(uint8_t *out, const float *values, const uint8_t *held,
                               ptrdiff_t width)
{
    if (width == DG_TILE && !held) {
        for (int j = 0; j < DG_TILE; j++)
            out[j] = (uint8_t)(int)values[j];
        return;
    }
    for (ptrdiff_t j = 0; j < width; j++)
        out[j] = held && held[j] ? out[j] : (uint8_t)(int)values[j];
}

/* From the fields of a task to what is wanted of them, row by row, for `width` columns of the layer
 * (a whole one, or a part of a mixed one) from `first` on. field: (n_rows, stride), read. scratch: 4 stride floats.
 * block_log_normalizer[row]: OUT, of these columns alone.
 *
 *     temper    natural parameters at the row's beta (left out where there is nothing to temper)
 *     log normalizer at beta, less the one at beta_from where that is asked for
 *     mean      stored where it is wanted
 *     draw      from the mean
 *
 * Whole tiles of single binary units that nothing else is asked of are left to dg_binary_rows, which
 * has the same bits. */
#define DG_ROWS_TOGETHER (DG_WIDE_PARTS == 1 ? 2 : 1) /* see dg_words_of_rows */

static void tile_finish(const struct layer *layer, const struct context *context,
                        const struct dg_stream *stream, const struct dg_outputs *out,
                        ptrdiff_t first_row, ptrdiff_t n_rows, ptrdiff_t first, ptrdiff_t width,
                        float *field, ptrdiff_t stride, float *scratch,
                        double *block_log_normalizer)
{
    float *tempered = scratch, *precision = scratch + stride, *mean = precision + stride;
    float *sample = mean + stride;
    int draw = out->sample_bytes || out->sample_floats;
    int plain = !context->beta && !context->base_bias && !layer->precision;
    ptrdiff_t i = 0;
    if (layer->kind == DG_BINARY && layer->n_copies == 1 && width == DG_TILE && plain &&
        !context->held && !block_log_normalizer && !out->sample_floats) {
        const ptrdiff_t word = layer->first_word + first - layer->first, size = layer->size;
        for (; i < n_rows; i += DG_ROWS_TOGETHER) {
            const ptrdiff_t at = (first_row + i) * size + first;
            float *means = out->mean ? out->mean + at : NULL;
            uint8_t *bytes = out->sample_bytes ? out->sample_bytes + at : NULL;
            if (i + DG_ROWS_TOGETHER <= n_rows)
                dg_binary_rows(word, field + i * stride, stride, DG_ROWS_TOGETHER, stream,
                               first_row + i, means, bytes, size);
            else
                dg_binary_rows(word, field + i * stride, stride, 1, stream, first_row + i, means,
                               bytes, size);
        }
        return;
    }
    for (; i < n_rows; i++) {
        ptrdiff_t row = first_row + i, at = row * layer->size + first;
        int64_t trials = context->trials ? context->trials[row] : layer->n_copies;
        const uint8_t *held = context->held ? context->held + at : NULL;
        const float *natural = tempered;
        double from = 0.0;
        if (out->beta_from) {
            temper(layer, context, out->beta_from[row], row, first, width, stride,
                   field + i * stride, tempered, precision);
            from = dg_units_log_normalizer(layer, width, trials, tempered, precision);
        }
        if (plain)
            natural = field + i * stride;
        else
            temper(layer, context, context->beta ? context->beta[row] : 1.0f, row, first, width,
                   stride, field + i * stride, tempered, precision);
        if (block_log_normalizer)
            block_log_normalizer[row] =
                dg_units_log_normalizer(layer, width, trials, natural, precision) - from;
        if (!out->mean && !draw)
            continue;
        dg_units_mean(layer, width, trials, natural, precision, mean);
        if (out->mean)
            store_floats(out->mean + at, mean, held, width);
        if (!draw)
            continue;
        dg_units_draw(layer, first - layer->first, width, trials, precision, mean, stream, row,
                      sample);
        if (out->sample_bytes)
            store_bytes(out->sample_bytes + at, sample, held, width);
        else
            store_floats(out->sample_floats + at, sample, held, width);
    }
}

/* Gradient and step of `width` <= DG_TILE neighbouring weights of one lower unit, `row`:
 *
 *     step = (scale_positive positive - scale_negative negative
 *             - offset_lower difference_upper - difference_lower offset_upper)     centring
 *            * gain_lower gain_upper                                               standardization
 *            - weight_decay weights
 *     velocity = momentum velocity + step,  weights += learning_rate velocity,
 *     average += averaging (weights - average)
 *
 * or the gradient alone, which is `step`; without weights it has no decay. Without a velocity the
 * step takes its place. `width` is a constant of the caller for whole tiles. most[j]: INOUT, the
 * bits of the largest magnitude so far, which compare as magnitudes do.
 *
 * follow: OUT, the steps that biases follow, before decay, or after it where there are gains; NULL
 * where nobody asks. */
DG_INLINE void step_tile(const struct dg_update *update, ptrdiff_t row, ptrdiff_t first,
                         const ptrdiff_t width, const float *restrict positive,
                         const float *restrict negative, float *restrict gradient,
                         float *restrict weights, float *restrict velocity,
                         float *restrict average, float *restrict follow,
                         int32_t *restrict most)
{
    float step[DG_TILE];
    for (ptrdiff_t j = 0; j < width; j++)
        step[j] = positive[j] * update->scale_positive - negative[j] * update->scale_negative;
    if (update->offset_lower) {
        float mu = update->offset_lower[row], dx = update->difference_lower[row];
        const float *lam = update->offset_upper + first, *dy = update->difference_upper + first;
        for (ptrdiff_t j = 0; j < width; j++)
            step[j] = DG_FMA(-dx, lam[j], DG_FMA(-mu, dy[j], step[j]));
    }
    if (update->gain_lower)
        for (ptrdiff_t j = 0; j < width; j++)
            step[j] *= update->gain_lower[row] * update->gain_upper[first + j];
    if (follow && !update->gain_lower)
        memcpy(follow, step, (size_t)width * sizeof *step);
    if (weights)
        for (ptrdiff_t j = 0; j < width; j++)
            step[j] = DG_FMA(-update->weight_decay, weights[j], step[j]);
    if (follow && update->gain_lower)
        memcpy(follow, step, (size_t)width * sizeof *step);
    if (gradient) {
        for (ptrdiff_t j = 0; j < width; j++)
            gradient[j] = step[j];
        return;
    }
    float rate = update->learning_rate;
    if (velocity)
        for (ptrdiff_t j = 0; j < width; j++)
            velocity[j] = step[j] = DG_FMA(update->momentum, velocity[j], step[j]);
    for (ptrdiff_t j = 0; j < width; j++)
        weights[j] = DG_FMA(rate, step[j], weights[j]);
    if (average)
        for (ptrdiff_t j = 0; j < width; j++)
            average[j] = DG_FMA(update->averaging, weights[j] - average[j], average[j]);
    for (ptrdiff_t j = 0; j < width; j++) {
        int32_t magnitude = dg_bits(weights[j]) & 0x7FFFFFFF;
        most[j] = magnitude > most[j] ? magnitude : most[j];
    }
}

/* Sums that biases follow by, along a row (docs/kernels.md, "Follow sums"): from the steps of `width`
 * neighbouring weights of one lower unit and both offsets, mu of the lower unit and lam of the upper
 * ones,
 *
 *     by_upper[j] += step[j] mu           lanes[j % DG_FOLLOW_LANES] += step[j] lam[j]
 *
 * by_upper (width,), lanes: INOUT. */
static void follow_tile(const float *step, float mu, const float *lam, ptrdiff_t width,
                        float *by_upper, float lanes[DG_FOLLOW_LANES])
{
    for (ptrdiff_t j = 0; j < width; j++) {
        by_upper[j] = DG_FMA(step[j], mu, by_upper[j]);
        lanes[j % DG_FOLLOW_LANES] = DG_FMA(step[j], lam[j], lanes[j % DG_FOLLOW_LANES]);
    }
}

/* The sum of the lanes, by halves. */
static float sum_of_lanes(float lanes[DG_FOLLOW_LANES])
{
    for (int half = DG_FOLLOW_LANES / 2; half; half /= 2)
        for (int lane = 0; lane < half; lane++)
            lanes[lane] += lanes[lane + half];
    return lanes[0];
}

/* Weights that are asked for so many ahead come from the outer cache while others take a step. */
#define STEP_AHEAD 512

/* Steps of whole groups of DG_FOLLOW_LANES weights of one row, and what biases follow them by:
 * step_tile and follow_tile without gains and without a gradient, in registers. Returns how many of
 * the `width` weights are done.
 *
 * `centred` and `keeps` (a velocity or an average) are constants of the caller. most: OUT, the bits
 * of the largest magnitudes. */
DG_INLINE ptrdiff_t step_groups(const struct dg_update *update, ptrdiff_t row, ptrdiff_t first,
                                ptrdiff_t width, const float *positive, const float *negative,
                                float *weights, float *velocity, float *average, float *by_upper,
                                float lanes[DG_FOLLOW_LANES], int32_t most[DG_FOLLOW_LANES],
                                const int centred, const int keeps)
{
    enum { VECTORS = DG_FOLLOW_LANES / LANES };
    const float of_row[2] = {centred ? update->offset_lower[row] : 0.0f,
                             centred ? update->difference_lower[row] : 0.0f};
    const float *lam = centred ? update->offset_upper + first : NULL;
    const float *dy = centred ? update->difference_upper + first : NULL;
    const VEC mu = SET1(of_row[0]), less_mu = SET1(-of_row[0]), less_dx = SET1(-of_row[1]);
    const VEC of_positive = SET1(update->scale_positive);
    const VEC of_negative = SET1(update->scale_negative);
    const VEC rate = SET1(update->learning_rate), less_decay = SET1(-update->weight_decay);
    const VEC momentum = SET1(update->momentum), averaging = SET1(update->averaging);
    VEC sums[VECTORS];
    BITS largest[VECTORS];
    ptrdiff_t j = 0;
    for (int v = 0; v < VECTORS; v++) {
        sums[v] = SET1(0.0f);
        largest[v] = NO_BITS;
    }
    for (; j + DG_FOLLOW_LANES <= width; j += DG_FOLLOW_LANES)
        for (int v = 0; v < VECTORS; v++) {
            const ptrdiff_t at = j + v * LANES;
            VEC step = SUB(MUL(LOAD(positive + at), of_positive),
                           MUL(LOAD(negative + at), of_negative));
            VEC weight = LOAD(weights + at);
            __builtin_prefetch(weights + at + STEP_AHEAD, 1, 3);
            if (keeps && average)
                __builtin_prefetch(average + at + STEP_AHEAD, 1, 3);
            if (keeps && velocity)
                __builtin_prefetch(velocity + at + STEP_AHEAD, 1, 3);
            if (centred) {
                const VEC upper = LOAD(lam + at);
                step = FMA(less_dx, upper, FMA(less_mu, LOAD(dy + at), step));
                STORE(by_upper + at, FMA(step, mu, LOAD(by_upper + at)));
                sums[v] = FMA(step, upper, sums[v]);
            }
            step = FMA(less_decay, weight, step);
            if (keeps && velocity) {
                step = FMA(momentum, LOAD(velocity + at), step);
                STORE(velocity + at, step);
            }
            weight = FMA(rate, step, weight);
            STORE(weights + at, weight);
            if (keeps && average) {
                const VEC old = LOAD(average + at);
                STORE(average + at, FMA(averaging, SUB(weight, old), old));
            }
            largest[v] = MOST_BITS(largest[v], weight);
        }
    for (int v = 0; v < VECTORS; v++) {
        STORE(lanes + v * LANES, sums[v]);
        STORE_BITS(most + v * LANES, largest[v]);
    }
    return j;
}

/* Step or gradient along a row of the matrix, `width` weights. Returns the largest magnitude of a
 * new weight, or one that is not finite; 0 where the gradient alone is made. */
static float tile_update_row(const struct dg_update *update, ptrdiff_t row, ptrdiff_t first,
                           ptrdiff_t width, const float *positive, const float *negative,
                           float *gradient, float *weights, float *velocity, float *average,
                           float *by_lower, float *by_upper)
{
    float lanes[DG_FOLLOW_LANES] = {0.0f}, follow[DG_TILE];
    int32_t most[DG_TILE] = {0}, largest = 0;
    ptrdiff_t j = 0;
    if (!gradient && !update->gain_lower) {
        const int centred = update->offset_lower && by_lower, keeps = velocity || average;
#define GROUPS(centred, keeps) \
        step_groups(update, row, first, width, positive, negative, weights, velocity, average, \
                    by_upper, lanes, most, centred, keeps)
        if (centred)
            j = keeps ? GROUPS(1, 1) : GROUPS(1, 0);
        else if (!update->offset_lower)
            j = keeps ? GROUPS(0, 1) : GROUPS(0, 0);
#undef GROUPS
    }
    for (ptrdiff_t n; j < width; j += n) {
        n = dg_min(DG_TILE, width - j);
#define STEP(n) \
        step_tile(update, row, first + j, n, positive + j, negative + j, \
                  gradient ? gradient + j : NULL, weights ? weights + j : NULL, \
                  velocity ? velocity + j : NULL, average ? average + j : NULL, \
                  by_lower ? follow : NULL, most)
        if (n == DG_TILE)
            STEP(DG_TILE);
        else
            STEP(n);
#undef STEP
        if (by_lower)
            follow_tile(follow, update->offset_lower[row], update->offset_upper + first + j, n,
                        by_upper + j, lanes);
    }
    for (j = 0; j < DG_TILE; j++)
        largest = most[j] > largest ? most[j] : largest;
    if (by_lower)
        *by_lower = sum_of_lanes(lanes);
    return dg_from_bits(largest);
}

/* LANES x LANES blocks as far as they go, what is left one by one. */
static void tile_transpose(const float *weights, ptrdiff_t stride, ptrdiff_t first,
                           ptrdiff_t width, ptrdiff_t n_inputs, float *out)
{
    if (width < DG_TILE)
        memset(out, 0, (size_t)n_inputs * DG_TILE * sizeof *out);
    ptrdiff_t c = 0;
    for (; c + LANES <= width; c += LANES) {
        ptrdiff_t k = 0;
        for (; k + LANES <= n_inputs; k += LANES)
            TRANSPOSE(weights + (first + c) * stride + k, stride, out + k * DG_TILE + c);
        for (; k < n_inputs; k++)
            for (int i = 0; i < LANES; i++)
                out[k * DG_TILE + c + i] = weights[(first + c + i) * stride + k];
    }
    for (; c < width; c++)
        for (ptrdiff_t k = 0; k < n_inputs; k++)
            out[k * DG_TILE + c] = weights[(first + c) * stride + k];
}

/* Running products: mantissas in [1, 2) once folded, and their exponents as integers. */
struct products {
    double value[DG_PRODUCT_LANES];
    int64_t exponent[DG_PRODUCT_LANES];
};

/* Move the exponents of the products (bits 52 and up of a double) into integers, and leave
 * mantissas in [1, 2): the products are positive and normal. */
static inline __attribute__((always_inline)) void fold(struct products *p)
{
    for (int lane = 0; lane < DG_PRODUCT_LANES; lane++) {
        uint64_t bits;
        memcpy(&bits, &p->value[lane], sizeof bits);
        p->exponent[lane] += (int64_t)(bits >> 52) - 1023;
        bits = (bits & 0x000FFFFFFFFFFFFFu) | 0x3FF0000000000000u;
        memcpy(&p->value[lane], &bits, sizeof bits);
    }
}

/* log prod_j (1 + e^f_j) for e^f = high * low: a fused multiply-add and a product a unit instead
 * of an exp and a log. No lane overflows within `per_fold` products. */
static double tile_log_product(ptrdiff_t n, ptrdiff_t per_fold, const double *high,
                               const double *low)
{
    struct products p;
    ptrdiff_t j = 0;
    for (int lane = 0; lane < DG_PRODUCT_LANES; lane++) {
        p.value[lane] = 1.0;
        p.exponent[lane] = 0;
    }
    while (j < n) {
        ptrdiff_t end = dg_min(j + per_fold * DG_PRODUCT_LANES, n);
        for (; j < end; j += DG_PRODUCT_LANES)
            for (int lane = 0; lane < DG_PRODUCT_LANES; lane++)
                p.value[lane] *= __builtin_fma(high[j + lane], low[j + lane], 1.0);
        fold(&p);
    }
    double mantissa = 1.0;
    int64_t power = 0;
    for (int lane = 0; lane < DG_PRODUCT_LANES; lane++) {
        mantissa *= p.value[lane];
        power += p.exponent[lane];
    }
    return log(mantissa) + (double)power * 0.69314718055994530942;
}

/* A name, these operations on tiles and those on fixed-point numbers make a back end. */
#define DG_BACKEND(name, fixed) \
    {name, tile_product, tile_add_sums, tile_finish, tile_update_row, tile_transpose, \
     tile_log_product, fixed}

const struct dg_backend BACKEND = DG_BACKEND(BACKEND_NAME, &FIXED);

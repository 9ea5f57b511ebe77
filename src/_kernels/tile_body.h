/* The tile operations, stated once over a few vector macros that the including file defines:
 *
 *   VEC          a vector of LANES floats       LOAD(p) STORE(p, v) SET1(x) FMA(a, b, c)
 *   MICRO_ROWS   rows of the dense micro kernel MICRO_VECS  vectors of a row of it
 *   LIST_ROWS    rows walked together by the list kernel, to hide the latency of a chain
 *
 * The order of the inputs in each element's chain of fused multiply-adds is the same in every
 * kernel below, and a zero input adds nothing: dense and list kernels give the same bits.
 */
#include "backend.h"
#include "units.h"

#define MICRO_WIDTH (LANES * MICRO_VECS)

static inline __attribute__((always_inline)) void
dense_micro(const float *a, ptrdiff_t a_stride, ptrdiff_t n_inputs, const float *b,
            ptrdiff_t b_stride, float *acc, ptrdiff_t acc_stride, const int n_rows)
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
            VEC x = SET1(a[r * a_stride + k]);
            for (int v = 0; v < MICRO_VECS; v++)
                sum[r][v] = FMA(x, line[v], sum[r][v]);
        }
    }
    for (int r = 0; r < n_rows; r++)
        for (int v = 0; v < MICRO_VECS; v++)
            STORE(acc + r * acc_stride + v * LANES, sum[r][v]);
}

static void product_dense(const struct dg_operand *a, ptrdiff_t first, ptrdiff_t n_rows,
                          ptrdiff_t n_inputs, const float *b, ptrdiff_t b_stride, float *acc,
                          ptrdiff_t acc_stride)
{
    const float *rows = a->dense + first * a->stride;
    for (int c = 0; c < DG_TILE; c += MICRO_WIDTH) {
        ptrdiff_t r = 0;
        for (; r + MICRO_ROWS <= n_rows; r += MICRO_ROWS)
            dense_micro(rows + r * a->stride, a->stride, n_inputs, b + c, b_stride,
                        acc + r * acc_stride + c, acc_stride, MICRO_ROWS);
        for (; r < n_rows; r++)
            dense_micro(rows + r * a->stride, a->stride, n_inputs, b + c, b_stride,
                        acc + r * acc_stride + c, acc_stride, 1);
    }
}

#define LIST_VECS (DG_TILE / LANES)

static inline __attribute__((always_inline)) void
list_micro(const struct dg_operand *a, ptrdiff_t first, const float *b, ptrdiff_t b_stride,
           float *acc, ptrdiff_t acc_stride, const int n_rows)
{
    VEC sum[LIST_ROWS][LIST_VECS];
    int64_t common = INT64_MAX;
    for (int r = 0; r < n_rows; r++) {
        int64_t length = a->end[first + r] - a->start[first + r];
        common = length < common ? length : common;
        for (int v = 0; v < LIST_VECS; v++)
            sum[r][v] = LOAD(acc + r * acc_stride + v * LANES);
    }
    for (int64_t e = 0; e < common; e++)
        for (int r = 0; r < n_rows; r++) {
            int64_t entry = a->start[first + r] + e;
            const float *line = b + a->index[entry] * b_stride;
            VEC x = SET1(a->value[entry]);
            for (int v = 0; v < LIST_VECS; v++)
                sum[r][v] = FMA(x, LOAD(line + v * LANES), sum[r][v]);
        }
    for (int r = 0; r < n_rows; r++) {
        for (int64_t entry = a->start[first + r] + common; entry < a->end[first + r]; entry++) {
            const float *line = b + a->index[entry] * b_stride;
            VEC x = SET1(a->value[entry]);
            for (int v = 0; v < LIST_VECS; v++)
                sum[r][v] = FMA(x, LOAD(line + v * LANES), sum[r][v]);
        }
        for (int v = 0; v < LIST_VECS; v++)
            STORE(acc + r * acc_stride + v * LANES, sum[r][v]);
    }
}

static void tile_product(const struct dg_operand *a, ptrdiff_t first, ptrdiff_t n_rows,
                         ptrdiff_t n_inputs, const float *b, ptrdiff_t b_stride, float *acc,
                         ptrdiff_t acc_stride)
{
    if (a->dense) {
        product_dense(a, first, n_rows, n_inputs, b, b_stride, acc, acc_stride);
        return;
    }
    ptrdiff_t r = 0;
    for (; r + LIST_ROWS <= n_rows; r += LIST_ROWS)
        list_micro(a, first + r, b, b_stride, acc + r * acc_stride, acc_stride, LIST_ROWS);
    for (; r < n_rows; r++)
        list_micro(a, first + r, b, b_stride, acc + r * acc_stride, acc_stride, 1);
}

/* natural parameters at this row's temperature: (1 - beta) base + beta model */
static inline void temper(const struct layer *layer, const struct context *context, float beta,
                          ptrdiff_t first, ptrdiff_t width, const float *field, float *tempered,
                          float *precision)
{
    for (ptrdiff_t j = 0; j < width; j++)
        tempered[j] = beta * field[j];
    if (context->base_bias)
        for (ptrdiff_t j = 0; j < width; j++)
            tempered[j] = DG_FMA(1.0f - beta, context->base_bias[first + j], tempered[j]);
    if (!layer->precision)
        return;
    for (ptrdiff_t j = 0; j < width; j++)
        precision[j] = beta * layer->precision[first + j];
    if (context->base_precision)
        for (ptrdiff_t j = 0; j < width; j++)
            precision[j] = DG_FMA(1.0f - beta, context->base_precision[first + j], precision[j]);
}

static void tile_finish(const struct layer *layer, const struct context *context,
                        const struct dg_stream *stream, const struct dg_outputs *out,
                        ptrdiff_t first_row, ptrdiff_t n_rows, ptrdiff_t first, ptrdiff_t width,
                        float *field, ptrdiff_t stride, float *scratch,
                        double *block_log_normalizer)
{
    float *tempered = scratch, *precision = scratch + stride, *mean = precision + stride;
    float *sample = mean + stride;
    int draw = out->sample_bytes || out->sample_floats;
    for (ptrdiff_t i = 0; i < n_rows; i++) {
        ptrdiff_t row = first_row + i, at = row * layer->size + first;
        const uint8_t *held = context->held ? context->held + at : NULL;
        float beta = context->beta ? context->beta[row] : 1.0f;
        if (block_log_normalizer) {
            double from = 0.0;
            if (out->beta_from) {
                temper(layer, context, out->beta_from[row], first, width, field + i * stride,
                       tempered, precision);
                from = dg_units_log_normalizer(layer, width, tempered, precision);
            }
            temper(layer, context, beta, first, width, field + i * stride, tempered, precision);
            block_log_normalizer[row] =
                dg_units_log_normalizer(layer, width, tempered, precision) - from;
        } else {
            temper(layer, context, beta, first, width, field + i * stride, tempered, precision);
        }
        if (!out->mean && !draw)
            continue;
        dg_units_mean(layer, width, tempered, precision, mean);
        if (out->mean) {
            if (held) {
                for (ptrdiff_t j = 0; j < width; j++)
                    if (!held[j])
                        out->mean[at + j] = mean[j];
            } else {
                memcpy(out->mean + at, mean, (size_t)width * sizeof *mean);
            }
        }
        if (!draw)
            continue;
        dg_units_draw(layer, first, width, precision, mean, stream, row, sample);
        if (out->sample_bytes)
            for (ptrdiff_t j = 0; j < width; j++)
                out->sample_bytes[at + j] = held && held[j] ? out->sample_bytes[at + j]
                                                            : (uint8_t)(int)sample[j];
        else
            for (ptrdiff_t j = 0; j < width; j++)
                out->sample_floats[at + j] = held && held[j] ? out->sample_floats[at + j]
                                                             : sample[j];
    }
}

/* gradient = p / n - q / m - offset dy - dx offset, by unit gains; then the optimizer's step.
 * Returns 1 where a new weight is not finite: that costs a compare in a visit made anyway. */
static int tile_update_row(const struct dg_update *update, ptrdiff_t row, ptrdiff_t first,
                           ptrdiff_t width, const float *positive, const float *negative,
                           float *gradient, float *weights, float *velocity, float *average)
{
    float step[DG_TILE];
    for (ptrdiff_t j = 0; j < DG_TILE; j++)
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
    if (gradient) {
        for (ptrdiff_t j = 0; j < width; j++)
            gradient[j] = DG_FMA(-update->weight_decay, weights[j], step[j]);
        return 0;
    }
    float rate = update->learning_rate;
    int32_t overflow = 0;
    for (ptrdiff_t j = 0; j < width; j++)
        step[j] = DG_FMA(-update->weight_decay, weights[j], step[j]);
    if (velocity)
        for (ptrdiff_t j = 0; j < width; j++)
            velocity[j] = step[j] = DG_FMA(update->momentum, velocity[j], step[j]);
    for (ptrdiff_t j = 0; j < width; j++)
        weights[j] = DG_FMA(rate, step[j], weights[j]);
    if (average)
        for (ptrdiff_t j = 0; j < width; j++)
            average[j] = DG_FMA(update->averaging, weights[j] - average[j], average[j]);
    for (ptrdiff_t j = 0; j < width; j++)
        overflow |= (dg_bits(weights[j]) & 0x7F800000) == 0x7F800000 ? 1 : 0;
    return (int)overflow;
}

static void tile_transpose(const float *weights, ptrdiff_t stride, ptrdiff_t first,
                           ptrdiff_t width, ptrdiff_t n_inputs, float *out)
{
    if (width < DG_TILE)
        memset(out, 0, (size_t)n_inputs * DG_TILE * sizeof *out);
    ptrdiff_t k = 0;
    for (; k + 8 <= n_inputs; k += 8)
        for (ptrdiff_t c = 0; c < width; c++) {
            const float *source = weights + (first + c) * stride + k;
            for (int i = 0; i < 8; i++)
                out[(k + i) * DG_TILE + c] = source[i];
        }
    for (; k < n_inputs; k++)
        for (ptrdiff_t c = 0; c < width; c++)
            out[k * DG_TILE + c] = weights[(first + c) * stride + k];
}

const struct dg_backend BACKEND = {
    BACKEND_NAME, tile_product, tile_finish, tile_update_row, tile_transpose,
};

#include "enumerate.h"

#include <math.h>
#include <string.h>

#include "parallel.h"
#include "units.h"

double dg_segments_log_normalizer(const struct dg_segment *segments, int n_segments,
                                  const double *field)
{
    double sum = 0.0;
    for (int s = 0; s < n_segments; s++) {
        const struct dg_segment *segment = &segments[s];
        for (ptrdiff_t j = 0; j < segment->size; j += segment->group) {
            const double *f = field + j;
            if (segment->kind == DG_BINARY) {
                sum += (double)segment->n_copies * dg_softplus64(f[0]);
            } else if (segment->kind == DG_GAUSSIAN) {
                double p = segment->precision[j];
                sum += 0.5 * (f[0] * f[0] / p + DG_LOG_2PI - log(p));
            } else {
                double top = f[0], total = 0.0;
                for (ptrdiff_t k = 1; k < segment->group; k++)
                    top = f[k] > top ? f[k] : top;
                for (ptrdiff_t k = 0; k < segment->group; k++)
                    total += exp(f[k] - top);
                sum += top + log(total);
            }
        }
        field += segment->size;
    }
    return sum;
}

/* field = bias + the shifts of the sites in state `code` (mixed radix); returns its own weight */
static double place(const struct dg_sites *sites, int64_t code, double *field)
{
    double own = 0.0;
    for (ptrdiff_t i = 0; i < sites->n_sites; i++) {
        int64_t at = sites->offset[i] + code % sites->radix[i];
        const double *shift = sites->shift + at * sites->n_fields;
        code /= sites->radix[i];
        own += sites->own[at];
        for (ptrdiff_t j = 0; j < sites->n_fields; j++)
            field[j] += shift[j];
    }
    return own;
}

static int64_t n_states(const struct dg_sites *sites)
{
    int64_t states = 1;
    for (ptrdiff_t i = 0; i < sites->n_sites; i++)
        states *= sites->radix[i];
    return states;
}

/* log prod_j (1 + e^f_j)^copies for f = high + low, given e^high and e^low: a fused multiply-add
 * a unit instead of an exp and a log. Valid while |f| < 350: two factors stay below 1e305. */
static inline __attribute__((always_inline)) double
product_log_normalizer(ptrdiff_t n, const double *high, const double *low)
{
    double product[8], logs = 0.0;
    int64_t exponent[8];
    ptrdiff_t j = 0;
    for (int lane = 0; lane < 8; lane++) {
        product[lane] = 1.0;
        exponent[lane] = 0;
    }
    for (; j + 8 <= n; j += 8)
        for (int lane = 0; lane < 8; lane++) {
            double p = product[lane] * __builtin_fma(high[j + lane], low[j + lane], 1.0);
            uint64_t bits;
            memcpy(&bits, &p, sizeof bits); /* keep the mantissa, count the exponent */
            exponent[lane] += (int64_t)(bits >> 52) - 1023;
            bits = (bits & 0x000FFFFFFFFFFFFFu) | 0x3FF0000000000000u;
            memcpy(&product[lane], &bits, sizeof bits);
        }
    for (int lane = 0; j < n; j++, lane++)
        logs += log1p(high[j] * low[j]);
    double mantissa = 1.0, power = 0.0;
    for (int lane = 0; lane < 8; lane++) {
        mantissa *= product[lane];
        power += (double)exponent[lane];
    }
    return logs + log(mantissa) + power * 0.69314718055994530942;
}

/* e^f of every state is a product of a high and a low part only where nothing can overflow */
static int fits_product(const struct dg_sites *high, const struct dg_sites *low,
                        const double *bias, const struct dg_segment *segments, int n_segments)
{
    if (n_segments != 1 || segments[0].kind != DG_BINARY || segments[0].n_copies != 1)
        return 0;
    const struct dg_sites *sides[2] = {high, low};
    for (ptrdiff_t j = 0; j < high->n_fields; j++) {
        double reach = fabs(bias[j]);
        for (int side = 0; side < 2; side++)
            for (ptrdiff_t i = 0; i < sides[side]->n_sites; i++) {
                double widest = 0.0;
                for (int64_t s = 0; s < sides[side]->radix[i]; s++) {
                    double shift = sides[side]->shift[(sides[side]->offset[i] + s) *
                                                          high->n_fields + j];
                    widest = fabs(shift) > widest ? fabs(shift) : widest;
                }
                reach += widest;
            }
        if (!(reach < 350.0))
            return 0;
    }
    return 1;
}

/* not DG_CLONES: the fused multiply-add needs a clone that has one */
#ifdef DG_HAS_CLONES
__attribute__((target_clones("avx512f", "arch=haswell", "default")))
#endif
static double sum_low(ptrdiff_t n_fields, int64_t n_low, const double *own, const double *table,
                      const double *high, double *values)
{
    double top = -INFINITY, total = 0.0;
    for (int64_t s = 0; s < n_low; s++) {
        values[s] = own[s] + product_log_normalizer(n_fields, high, table + s * n_fields);
        top = values[s] > top ? values[s] : top;
    }
    for (int64_t s = 0; s < n_low; s++)
        total += exp(values[s] - top);
    return top + log(total);
}

/* table: (n_low, n_fields + 2): own weights, values of a thread's pass, then low parts */
void dg_enumerate(const struct dg_sites *high, const struct dg_sites *low, const double *bias,
                  const struct dg_segment *segments, int n_segments, int64_t first_high,
                  int64_t n_high, double *table, double *scratch, double *out, int n_threads)
{
    ptrdiff_t n = high->n_fields;
    int64_t n_low = n_states(low);
    double *own = table + n_low * n;
    int product = fits_product(high, low, bias, segments, n_segments);

    memset(table, 0, (size_t)(n_low * n) * sizeof(double));
    for (int64_t s = 0; s < n_low; s++) {
        own[s] = place(low, s, table + s * n);
        for (ptrdiff_t j = 0; product && j < n; j++)
            table[s * n + j] = exp(table[s * n + j]);
    }
    DG_OMP(omp parallel for num_threads(n_threads) if (n_threads > 1) schedule(dynamic, 1))
    for (int64_t code = 0; code < n_high; code++) {
        double *field = scratch + (size_t)omp_get_thread_num() * (size_t)(2 * n + n_low);
        double *sum = field + n, *values = sum + n;
        memcpy(field, bias, (size_t)n * sizeof(double));
        double weight = place(high, first_high + code, field);
        if (product) {
            for (ptrdiff_t j = 0; j < n; j++)
                field[j] = exp(field[j]);
            out[code] = weight + sum_low(n, n_low, own, table, field, values);
            continue;
        }
        double top = -INFINITY, total = 0.0;
        for (int64_t s = 0; s < n_low; s++) {
            for (ptrdiff_t j = 0; j < n; j++)
                sum[j] = field[j] + table[s * n + j];
            values[s] = own[s] + dg_segments_log_normalizer(segments, n_segments, sum);
            top = values[s] > top ? values[s] : top;
        }
        for (int64_t s = 0; s < n_low; s++)
            total += exp(values[s] - top);
        out[code] = weight + top + log(total);
    }
}

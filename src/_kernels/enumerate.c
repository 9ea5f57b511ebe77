#include "enumerate.h"

#include <math.h>
#include <string.h>

#include "backend.h"
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
            switch (segment->kind) {
            case DG_BINARY:
                sum += (double)segment->n_copies * dg_softplus64(f[0]);
                break;
            case DG_GAUSSIAN: {
                double p = segment->precision[j];
                sum += 0.5 * (f[0] * f[0] / p + DG_LOG_2PI - log(p));
                break;
            }
            case DG_SOFTMAX:
            case DG_MULTINOMIAL: {
                double top = f[0], total = 0.0;
                for (ptrdiff_t k = 1; k < segment->group; k++)
                    top = f[k] > top ? f[k] : top;
                for (ptrdiff_t k = 0; k < segment->group; k++)
                    total += exp(f[k] - top);
                double draws = segment->kind == DG_SOFTMAX ? 1.0 : (double)segment->n_copies;
                sum += draws * (top + log(total));
                break;
            }
            case DG_LINEAR:
            case DG_RECTIFIED:
                break; /* activations: no distribution to normalize */
            }
        }
        field += segment->size;
    }
    return sum;
}

/* Put the sites into the state number `code` (mixed radix, the first site counts fastest):
 * field[j] += sum of the sites' shifts[j], or *= where the shifts are factors (exponentials).
 * Returns the log weight of the state itself. */
DG_CLONES
static double put_state(const struct dg_sites *sites, int64_t code, int factors, double *field)
{
    double log_weight = 0.0;
    for (ptrdiff_t i = 0; i < sites->n_sites; i++) {
        int64_t at = sites->offset[i] + code % sites->radix[i];
        const double *shift = sites->shift + at * sites->n_fields;
        code /= sites->radix[i];
        log_weight += sites->own[at];
        if (factors)
            for (ptrdiff_t j = 0; j < sites->n_fields; j++)
                field[j] *= shift[j];
        else
            for (ptrdiff_t j = 0; j < sites->n_fields; j++)
                field[j] += shift[j];
    }
    return log_weight;
}

static int64_t n_states(const struct dg_sites *sites)
{
    int64_t states = 1;
    for (ptrdiff_t i = 0; i < sites->n_sites; i++)
        states *= sites->radix[i];
    return states;
}

/* log sum_t exp(log_weight[t] + log prod_j (1 + high[j] table[t, j])) over the n_low states of the
 * low sites: binary units summed out, whose fields are the logs of high * table. values: scratch,
 * (n_low,). */
static double sum_low(ptrdiff_t n_fields, ptrdiff_t per_fold, int64_t n_low,
                      const double *log_weight, const double *table, const double *high,
                      double *values)
{
    const struct dg_backend *backend = dg_backend();
    double top = -INFINITY, total = 0.0;
    for (int64_t s = 0; s < n_low; s++) {
        values[s] = log_weight[s] +
                    backend->log_product(n_fields, per_fold, high, table + s * n_fields);
        top = values[s] > top ? values[s] : top;
    }
    for (int64_t s = 0; s < n_low; s++)
        total += exp(values[s] - top);
    return top + log(total);
}

/* pass 1  table[t, :] = what the low sites in state t add to the fields (or multiply them by), once
 *         for all high states; log_weight[t] = that of the state itself, behind the table
 * pass 2  for each high state, shared out among the threads: its fields, then the log of the sum
 *         over all t, with the largest term taken out so that no exp overflows */
void dg_enumerate(const struct dg_sites *high, const struct dg_sites *low, const double *bias,
                  const struct dg_segment *segments, int n_segments, int64_t first_high,
                  int64_t n_high, ptrdiff_t per_fold, double *table, double *scratch, double *out,
                  int n_threads)
{
    ptrdiff_t n = high->n_fields;
    int64_t n_low = n_states(low);
    double *log_weight = table + n_low * n;
    int factors = per_fold > 0;

    for (int64_t s = 0; s < n_low; s++) {
        for (ptrdiff_t j = 0; j < n; j++)
            table[s * n + j] = factors ? 1.0 : 0.0;
        log_weight[s] = put_state(low, s, factors, table + s * n);
    }
    DG_OMP(omp parallel for num_threads(n_threads) if (n_threads > 1) schedule(dynamic, 1))
    for (int64_t code = 0; code < n_high; code++) {
        DG_FLUSH;
        double *field = scratch + (size_t)omp_get_thread_num() * (size_t)(2 * n + n_low);
        double *sum = field + n, *values = sum + n;
        memcpy(field, bias, (size_t)n * sizeof(double));
        double of_high = put_state(high, first_high + code, factors, field);
        if (factors) {
            out[code] = of_high + sum_low(n, per_fold, n_low, log_weight, table, field, values);
            continue;
        }
        double top = -INFINITY, total = 0.0;
        for (int64_t s = 0; s < n_low; s++) {
            for (ptrdiff_t j = 0; j < n; j++)
                sum[j] = field[j] + table[s * n + j];
            values[s] = log_weight[s] + dg_segments_log_normalizer(segments, n_segments, sum);
            top = values[s] > top ? values[s] : top;
        }
        for (int64_t s = 0; s < n_low; s++)
            total += exp(values[s] - top);
        out[code] = of_high + top + log(total);
    }
}

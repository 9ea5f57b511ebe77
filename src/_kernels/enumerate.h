/* Exact log Z: enumerate one side of a bipartite model, sum the other side out in closed form. */
#ifndef DEEPGEN_ENUMERATE_H
#define DEEPGEN_ENUMERATE_H

#include "backend.h"
#include "chain.h"

/* An enumerated side is a list of sites (a unit, or a softmax group) with `radix` states each.
 * State s of site i adds row `offset[i] + s` of `shift` to the fields of the other side and
 * `own[offset[i] + s]` to the log weight. Fields are kept in float64 throughout. */
struct dg_sites {
    ptrdiff_t n_sites, n_fields;
    const int64_t *radix;  /* (n_sites,) */
    const int64_t *offset; /* (n_sites,) */
    const double *shift;   /* (sum of radix, n_fields) */
    const double *own;     /* (sum of radix,) */
};

/* The side summed out: unit kinds by field, in segments of one layer each. */
struct dg_segment {
    enum dg_kind kind;
    int n_copies;
    ptrdiff_t size, group;
    const double *precision; /* gaussian */
};

/* For every state s of the high sites from first_high on, with all states t of the low sites:
 *
 *     out[s] = log sum_t exp(own_s + own_t + log_normalizer(bias + shift_s + shift_t))
 *
 * where log_normalizer sums the units of the segments out. out: OUT, (n_high,); Python adds the
 * entries in order, so that Ctrl-C is heard between calls. table: scratch of n_low (n_fields + 1)
 * numbers, scratch: 2 n_fields + n_low for each thread, where the low sites have n_low states.
 *
 * per_fold > 0 is for one segment of single binary units with moderate fields: `bias` and `shift`
 * then hold the exponentials of what they are named after, and that many factors 1 + e^field may
 * be multiplied before a product could overflow; n_fields is a multiple of DG_PRODUCT_LANES (what
 * pads it is zero, a factor of 1; `DG_PRODUCT_LANES` is in backend.h). */
void dg_enumerate(const struct dg_sites *high, const struct dg_sites *low, const double *bias,
                  const struct dg_segment *segments, int n_segments, int64_t first_high,
                  int64_t n_high, ptrdiff_t per_fold, double *table, double *scratch, double *out,
                  int n_threads);

/* log sum_x exp(f x) of each segment's units, in float64: the closed form of the other side */
double dg_segments_log_normalizer(const struct dg_segment *segments, int n_segments,
                                  const double *field);

#endif

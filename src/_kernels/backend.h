/* The operations that exist once for each instruction set, all with the same bits.
 *
 * `tile_body.h` states those on tiles; `tile_generic.c`, `tile_avx2.c` and `tile_avx512.c` compile
 * it. Those on fixed-point numbers have a file each, `fixed_*.c`. A back end is a pair of both.
 * Tiles are `DG_TILE` columns wide with that leading dimension, 64-byte aligned.
 */
#ifndef DEEPGEN_BACKEND_H
#define DEEPGEN_BACKEND_H

#include "chain.h"
#include "fixed_point.h"
#include "philox.h"

/* One side of a product, as rows: dense floats, or the non-zero entries of each row in order.
 * Dense values lie `stride` apart from row to row and `step` from input to input; one of the two
 * is 1.
 *
 * Lists come in groups of DG_GROUP rows, entry by entry: index[(g * capacity + e) * DG_GROUP + r].
 * Shorter lists of a group end in entries of value zero, which add nothing, so that the rows of a
 * group are walked together: four chains of additions hide each other's latency. */
#define DG_GROUP 4

/* Above this share of non-zero inputs the dense kernel is faster (docs/decisions.md). */
#define LIST_DENSITY 0.40

/* Running products of an enumeration: part of the definition, as the order of a sum is. */
#define DG_PRODUCT_LANES 32

/* Sums over upper units that biases follow by (docs/math.md, "Follow sums"): lanes of a row, within
 * a block of columns. Part of the definition too. */
#define DG_FOLLOW_LANES 16
#define DG_FOLLOW_BLOCK 256

struct dg_operand {
    const float *dense;      /* NULL for lists */
    ptrdiff_t stride, step;
    const int32_t *index;    /* (n_groups, capacity, DG_GROUP) */
    const float *value;
    const int32_t *length;   /* (n_groups,) */
    ptrdiff_t capacity;
};

/* What a pass writes for each row; NULL: not wanted. Strides are the layer's size. */
struct dg_outputs {
    float *mean;
    uint8_t *sample_bytes;
    float *sample_floats;
    const float *beta_from; /* (n_rows,) or NULL: subtract the log normalizer at this beta */
};

/* The update of one weight matrix; see docs/math.md, section "One update". */
struct dg_update {
    float scale_positive, scale_negative; /* 1 / rows of each phase */
    float learning_rate, momentum, weight_decay;
    float averaging;                      /* weight of the new value in the average; 0: none */
    const float *offset_lower, *offset_upper;         /* centring, or NULL */
    const float *difference_lower, *difference_upper; /* mean of the phases' difference */
    const float *gain_lower, *gain_upper;             /* standardization by unit, or NULL */
    float *follow_lower, *follow_upper; /* OUT, by unit: what the biases follow by; or NULL */
};

struct dg_backend {
    const char *name;
    /* acc[r, :] += sum_k a[first + r, k] b[k, :], one chain of fused multiply-adds in k; `first`
     * is a multiple of DG_GROUP, and acc has room for whole groups */
    void (*product)(const struct dg_operand *a, ptrdiff_t first, ptrdiff_t n_rows,
                    ptrdiff_t n_inputs, const float *b, ptrdiff_t b_stride, float *acc,
                    ptrdiff_t acc_stride);
    /* field[r, :] += scale sums[r, :] for DG_TILE columns: the one rounding of a whole number */
    void (*add_sums)(const int32_t *sums, ptrdiff_t n_rows, float scale, float *field,
                     ptrdiff_t stride);
    /* field (n_rows, stride), rows first_row .. of the call by `width` columns from `first` on, to
     * log normalizer, mean and draw. scratch: 4 stride floats. block_log_normalizer (NULL: not
     * wanted): one number for each row, by its number in the call */
    void (*finish)(const struct layer *layer, const struct context *context,
                   const struct dg_stream *stream, const struct dg_outputs *out,
                   ptrdiff_t first_row, ptrdiff_t n_rows, ptrdiff_t first, ptrdiff_t width,
                   float *field, ptrdiff_t stride, float *scratch, double *block_log_normalizer);
    /* `width` neighbouring weights of a row, at most DG_FOLLOW_BLOCK: gradient from the two sums,
     * then the step; returns the largest magnitude of a new weight, infinite or not a number where
     * one is. Where update->follow_lower is wanted: by_lower, OUT, its part of these columns;
     * by_upper, (width,), INOUT, += the row's terms of follow_upper */
    float (*update_row)(const struct dg_update *update, ptrdiff_t row, ptrdiff_t first,
                      ptrdiff_t width, const float *positive, const float *negative,
                      float *gradient, float *weights, float *velocity, float *average,
                      float *by_lower, float *by_upper);
    /* out[k, c] = weights[(first + c), k] for c < width: a tile of the transpose, zero padded */
    void (*transpose)(const float *weights, ptrdiff_t stride, ptrdiff_t first, ptrdiff_t width,
                      ptrdiff_t n_inputs, float *out);
    /* log prod_j (1 + high[j] low[j]) in float64, n a multiple of DG_PRODUCT_LANES; no lane
     * overflows within `per_fold` factors */
    double (*log_product)(ptrdiff_t n, ptrdiff_t per_fold, const double *high, const double *low);
    const struct dg_fixed *fixed;
};

extern const struct dg_backend dg_backend_generic;
#ifdef __x86_64__
extern const struct dg_backend dg_backend_avx2;
extern const struct dg_backend dg_backend_avx512;
/* The tile operations of AVX-512, other fixed-point ones; a build may lack them (backend.c). */
extern const struct dg_backend dg_backend_vnni;
extern const struct dg_backend dg_backend_amx;
#endif

/* The best back end of this machine, or the one that DEEPGEN_CPU names. */
const struct dg_backend *dg_backend(void);
int dg_backend_select(const char *name); /* 0: chosen; -1: not available here */
/* Name of the n-th back end that this build and this machine have, the best one last; or NULL. */
const char *dg_backend_name(int n);

#endif

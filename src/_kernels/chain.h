/* A layered model as the kernels see it, filled by `Chain` in engine.pyx and nowhere else.
 *
 * Rows are samples, columns are units. weights[l] is (size of layer l, size of layer l + 1),
 * row-major. The field of a unit is its bias plus what its neighbours send; every unit kind is
 * an exponential family in that field, so an inverse temperature scales natural parameters.
 */
#ifndef DEEPGEN_CHAIN_H
#define DEEPGEN_CHAIN_H

#include <stddef.h>
#include <stdint.h>

#define DG_MAX_LAYERS 64

/* What a layer's units are. Linear and rectified ones are activations of a feed-forward net: they have
 * a mean and nothing else. Python reads the numbers from here (`KINDS` in engine.pyx). A switch over them has
 * no default: the compiler refuses one that a new kind is missing in (-Werror=switch). */
enum dg_kind {
    DG_BINARY = 0,
    DG_GAUSSIAN = 1,
    DG_SOFTMAX = 2,
    DG_LINEAR = 3,
    DG_RECTIFIED = 4,
    DG_MULTINOMIAL = 5
};

struct layer {
    enum dg_kind kind;
    int n_copies;           /* largest state: binary, of so many tied copies; multinomial: trials
                             * of a row, where its context does not tell; else 1 */
    ptrdiff_t size;         /* columns */
    ptrdiff_t group;        /* columns that belong together: of a softmax group, all of a
                             * multinomial layer, else 1 */
    const float *bias;      /* (size,) */
    const float *precision; /* gaussian: (size,), else NULL */
    /* Of a mixed layer, units of several kinds side by side: its parts, a layer each whose arrays
     * and size are those of the whole. `kind` and `group` are then those of the parts alone. */
    int n_parts;              /* 0: one kind */
    const struct layer *parts;
    const int32_t *part_of;   /* (size,): the part that a column belongs to */
    ptrdiff_t n_blocks;
    const int64_t *blocks;    /* (n_blocks + 1,): first columns of the tasks of a pass */
    /* Of a part: its columns, and the random word of its first one (a multiple of 4). */
    ptrdiff_t first, end, first_word;
};

struct dg_packed;

struct chain {
    int n_layers;
    struct layer layers[DG_MAX_LAYERS];
    const float *weights[DG_MAX_LAYERS];
    const struct dg_packed *packed[DG_MAX_LAYERS]; /* beside weights[l]; NULL: floats alone */
    /* The floats between layer l and the one below (0) or above (1) it, as the passes over l read
     * them: dg_fill_tiles(); NULL: each pass makes its own. */
    const float *tiles[2][DG_MAX_LAYERS];
};

/* States of one layer, a row for each sample: bytes, floats, or compressed sparse rows. */
enum dg_storage { DG_BYTES = 0, DG_FLOATS = 1, DG_SPARSE = 2 };

struct rows {
    int storage;
    float unit;               /* what a byte of 1 stands for: 1 for states, less for means */
    ptrdiff_t n_rows, stride; /* stride in elements */
    const void *data;         /* bytes or floats; for sparse the float values */
    const int64_t *start;     /* sparse: (n_rows + 1,) */
    const int32_t *index;     /* sparse: column of each value, ascending in a row */
};

/* What varies from row to row around a layer; NULL where nothing does. */
struct context {
    const float *bias_rows;      /* (n_rows, size): added to the bias */
    const float *bias_scale;     /* (n_rows,): multiplies the bias, before that */
    const uint8_t *held;         /* (n_rows, size): non-zero entries keep their value */
    const float *beta;           /* (n_rows,): inverse temperature */
    const int64_t *trials;       /* (n_rows,): draws that the units share; multinomial layers */
    const float *base_bias;      /* natural parameters at beta = 0 of an annealed model, else NULL: */
    ptrdiff_t base_stride;       /* (size,) for all rows where this is 0, or (n_rows, size) */
    const float *base_precision; /* (size,) */
};

#endif

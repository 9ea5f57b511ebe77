/* AMX: tiles of 16 rows by 64 bytes. A word of weights is what four neighbouring bytes of inputs
 * meet, so states and both planes of the weights are read as they lie.
 *
 *     sum x q = 256 sum x high + sum x low        (unsigned by signed, unsigned by unsigned)
 *
 * Sums wrap around in int32 and the whole fits into it, so it does not matter whether a part does.
 * Lists of words are not used: a tile is read whole. */
#if defined(DG_EMULATE) || (defined(__x86_64__) && !defined(DG_NO_AMX))
#ifdef DG_EMULATE /* by tests/emulation, on any machine */
#include "intrinsics.h"
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,amx-tile,amx-int8,avx2,fma")
#pragma GCC target("prefer-vector-width=512")
#include <immintrin.h>
#endif

#include "fixed_pack.h"

#define ROWS 16 /* of a tile of the machine */
#define LINE 64 /* its bytes, and so DG_WORDS words or 16 sums */
#define COLUMNS (LINE / 4)

/* Numbers of tiles are written into instructions. Sums are (rows, columns) of a plane. */
#define HIGH_0 0
#define LOW_0 1
#define HIGH_1 2
#define LOW_1 3
#define STATES_0 4
#define STATES_1 5
#define NUMBERS_HIGH 6
#define NUMBERS_LOW 7

struct config { /* as LDTILECFG reads it */
    uint8_t palette, start_row, reserved[14];
    uint16_t line[16];
    uint8_t rows[16];
};

static void pack(const float *lines, ptrdiff_t stride, float inverse, ptrdiff_t plane,
                 uint32_t *words)
{
    dg_pack_quads(lines, stride, inverse, plane, words);
}

/* Sums and states have `height` rows, numbers have one row for each word of a line. */
static void configure(ptrdiff_t height)
{
    struct config config __attribute__((aligned(64))) = {.palette = 1};
    for (int t = 0; t < 8; t++) {
        config.line[t] = LINE;
        config.rows[t] = (uint8_t)(t < NUMBERS_HIGH ? height : LINE / 4);
    }
    /* some releases of GCC take the instruction for a reader of eight bytes (its bug 114098) */
    __asm__ volatile("" : : "r"(&config) : "memory");
    _tile_loadconfig(&config);
}

/* acc = 256 high + low for the rows and columns of one tile; high: NULL where there is none */
DG_INLINE void combine(const int32_t *high, const int32_t *low, ptrdiff_t height, int32_t *acc)
{
    for (ptrdiff_t r = 0; r < height; r++)
        for (int c = 0; c < COLUMNS; c++) {
            uint32_t sum = (uint32_t)low[r * COLUMNS + c];
            if (high)
                sum += (uint32_t)high[r * COLUMNS + c] << 8;
            acc[r * DG_TILE + c] = (int32_t)sum;
        }
}

/* acc = inputs . numbers for COLUMNS columns: `height` rows from words[0] on to acc[0] and, with
 * `two`, as many from words[1] on to acc[1]. Two tiles of rows take each tile of numbers once. A
 * turn is DG_WORDS words: 64 bytes of inputs, 16 lines of numbers. */
DG_INLINE void block(const uint32_t *const words[2], ptrdiff_t stride, ptrdiff_t n_words,
                     ptrdiff_t height, const uint32_t *numbers, int32_t *const acc[2],
                     const int two, const int planes)
{
    int32_t high[ROWS * COLUMNS] __attribute__((aligned(64)));
    int32_t low[ROWS * COLUMNS] __attribute__((aligned(64)));
    const ptrdiff_t row_bytes = stride * 4, number_bytes = DG_TILE * 4;
    const ptrdiff_t plane = (planes - 1) * stride * DG_TILE;
    const int32_t *highs = planes > 1 ? high : NULL;
    _tile_zero(HIGH_0);
    _tile_zero(LOW_0);
    if (two) {
        _tile_zero(HIGH_1);
        _tile_zero(LOW_1);
    }
    for (ptrdiff_t w = 0; w < n_words; w += DG_WORDS) {
        _tile_loadd(NUMBERS_LOW, numbers + plane + w * DG_TILE, number_bytes);
        _tile_loadd(STATES_0, words[0] + w, row_bytes);
        _tile_dpbuud(LOW_0, STATES_0, NUMBERS_LOW);
        if (two) {
            _tile_loadd(STATES_1, words[1] + w, row_bytes);
            _tile_dpbuud(LOW_1, STATES_1, NUMBERS_LOW);
        }
        if (planes > 1) {
            _tile_loadd(NUMBERS_HIGH, numbers + w * DG_TILE, number_bytes);
            _tile_dpbusd(HIGH_0, STATES_0, NUMBERS_HIGH);
            if (two)
                _tile_dpbusd(HIGH_1, STATES_1, NUMBERS_HIGH);
        }
    }
    _tile_stored(LOW_0, low, LINE);
    if (planes > 1)
        _tile_stored(HIGH_0, high, LINE);
    combine(highs, low, height, acc[0]);
    if (two) {
        _tile_stored(LOW_1, low, LINE);
        if (planes > 1)
            _tile_stored(HIGH_1, high, LINE);
        combine(highs, low, height, acc[1]);
    }
}

/* `product` of struct dg_fixed for one number of planes: 2 ROWS rows by COLUMNS columns at a time.
 * The last tile of rows begins so that it ends with the rows: some are summed twice, alike. */
DG_INLINE void product_of(const struct dg_inputs *inputs, ptrdiff_t first, ptrdiff_t n_rows,
                          const uint32_t *tile, const int planes, int32_t *acc)
{
    ptrdiff_t stride = inputs->stride, n_words = inputs->n_words;
    ptrdiff_t height = dg_min(ROWS, n_rows);
    for (ptrdiff_t r = 0; r < n_rows; r += 2 * ROWS)
        for (int c = 0; c < DG_TILE; c += COLUMNS) {
            ptrdiff_t row[2] = {dg_min(r, n_rows - height), dg_min(r + ROWS, n_rows - height)};
            const uint32_t *words[2];
            int32_t *sums[2];
            for (int i = 0; i < 2; i++) {
                words[i] = inputs->words + (first + row[i]) * stride;
                sums[i] = acc + row[i] * DG_TILE + c;
            }
            if (row[1] > row[0])
                block(words, stride, n_words, height, tile + c, sums, 1, planes);
            else
                block(words, stride, n_words, height, tile + c, sums, 0, planes);
        }
}

static void product(const struct dg_inputs *inputs, ptrdiff_t first, ptrdiff_t n_rows,
                    int n_planes, const uint32_t *tile, int32_t *acc)
{
    if (!n_rows)
        return;
    configure(dg_min(ROWS, n_rows));
    if (n_planes == DG_PLANES)
        product_of(inputs, first, n_rows, tile, DG_PLANES, acc);
    else
        product_of(inputs, first, n_rows, tile, 1, acc);
    _tile_release(); /* a thread that holds tiles is slower to switch */
}

const struct dg_fixed dg_fixed_amx = {DG_QUADS, 0.0f, 0, DG_QUADS, 0.0f, pack, NULL, dg_word_places, product};
#endif

/* Packs random weights and multiplies random states with the fixed-point operations of plain C,
 * and of VNNI and AMX emulated: every sum must be the one of a loop over int64. Prints how many
 * products were compared; fails at the first that differs. */
#include <math.h>

#include "backend.h"
#include "byte_sums.h"
#include "intrinsics.h"

struct emulated_amx amx;
static struct dg_backend current = {0};

const struct dg_backend *dg_backend(void)
{
    return &current;
}

static void transpose(const float *weights, ptrdiff_t stride, ptrdiff_t first, ptrdiff_t width,
                      ptrdiff_t n_inputs, float *out)
{
    for (ptrdiff_t k = 0; k < n_inputs; k++)
        for (ptrdiff_t c = 0; c < DG_TILE; c++)
            out[k * DG_TILE + c] = c < width ? weights[(first + c) * stride + k] : 0.0f;
}

static uint64_t seed = 1;

static uint32_t draw(uint32_t below)
{
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)((seed >> 33) % below);
}

#define CHECK(condition, ...)                                                               \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            printf(__VA_ARGS__);                                                            \
            exit(1);                                                                        \
        }                                                                                   \
    } while (0)

static const char *const names[] = {"generic", "vnni", "amx"};
static const struct dg_fixed *const operations[] = {&dg_fixed_generic, &dg_fixed_vnni,
                                                    &dg_fixed_amx};
static long n_compared = 0;

static void *room(size_t n, size_t size) /* exactly so much: a sanitizer sees what goes beyond */
{
    void *memory = malloc(n && size ? n * size : 1);
    CHECK(memory, "no memory\n");
    return memory;
}

struct rows_case {
    ptrdiff_t n_rows;
    int most;         /* states are 0 .. most */
    uint32_t density; /* of 100: how often a state is not zero */
    int extreme;      /* states `most`, weights the largest of both signs */
};

/* The form of the inputs of a product. */
enum form { WORDS, LISTS, NIBBLES, FORMS };
static const char *const forms[] = {"dense", "lists", "tables"};

/* The number that input k meets in column j; the down side swaps the two. */
static int64_t number(const int32_t *q, const struct layer *upper, ptrdiff_t k, ptrdiff_t j,
                      int down)
{
    return down ? q[j * upper->size + k] : q[k * upper->size + j];
}

/* Every byte of the packed form of one side, from the definition. */
static void check_packed(const struct dg_packed *packed, const int32_t *q,
                         const struct layer *upper, ptrdiff_t n_inputs, const struct layer *to,
                         int down, const char *name)
{
    ptrdiff_t n_words = dg_n_words(packed->layout, n_inputs), block = dg_block_width(to);
    ptrdiff_t in_block = (block + DG_TILE - 1) / DG_TILE;
    if (packed->layout == DG_PAIRS)
        return; /* plain C is checked by its sums */
    for (ptrdiff_t t = 0; t < dg_n_tiles(to); t++) {
        const uint8_t *tile = (const uint8_t *)((down ? packed->down : packed->up) +
                                                t * dg_tile_words(packed->layout, n_inputs));
        const uint8_t *low_plane = tile + n_words * DG_TILE * 4;
        for (ptrdiff_t k = 0; k < 4 * n_words; k++)
            for (ptrdiff_t c = 0; c < DG_TILE; c++) {
                ptrdiff_t in = t % in_block * DG_TILE + c, j = t / in_block * block + in;
                ptrdiff_t at = (k / 4 * DG_TILE + c) * 4 + k % 4;
                int64_t expected =
                    k < n_inputs && in < block && j < to->size ? number(q, upper, k, j, down) : 0;
                int64_t high = (int8_t)tile[at], low = low_plane[at];
                CHECK(256 * high + low == expected,
                      "%s: number %d, %d of tile %d is packed wrong\n", name, (int)k, (int)c,
                      (int)t);
            }
    }
}

/* Sums of all tiles of the layer `to`, in pieces of rows, from words, a strip of them or lists. */
static void check_products(const struct dg_packed *packed, const struct dg_fixed *fixed,
                           const int32_t *q, const struct layer *upper,
                           const struct layer *from, const struct layer *to, int down,
                           const struct rows_case *how, enum form form, const char *name)
{
    ptrdiff_t n_words = dg_n_words(packed->layout, from->size), block = dg_block_width(to);
    ptrdiff_t in_block = (block + DG_TILE - 1) / DG_TILE, n = how->n_rows;
    uint8_t *states = room((size_t)(n * from->size), 1);
    uint32_t *words = room((size_t)(n * n_words), sizeof *words);
    int32_t *index = room((size_t)(n * n_words), sizeof *index);
    int32_t *length = room((size_t)n, sizeof *length);
    uint8_t *nibbles = room((size_t)(n * n_words / 2), 1);
    ptrdiff_t first = n > 2 ? draw(3) : 0, n_rows = n - first; /* a piece may begin anywhere */
    int32_t *acc = room((size_t)(n_rows * DG_TILE), sizeof *acc);
    for (ptrdiff_t i = 0; i < n * from->size; i++)
        states[i] = how->extreme ? (uint8_t)how->most
                    : draw(100) < how->density ? (uint8_t)(1 + draw((uint32_t)how->most)) : 0;
    struct rows x = {DG_BYTES, 1.0f, n, from->size, states, NULL, NULL};
    for (ptrdiff_t r = 0; r < n; r++) {
        ptrdiff_t found = dg_row_words(packed->layout, &x, r, from->size, how->most,
                                       words + r * n_words);
        length[r] = (int32_t)fixed->places(words + r * n_words, n_words, ~0u, index + r * n_words);
        CHECK(length[r] == found, "%s: %d words counted, %d listed\n", name, (int)found, length[r]);
        if (form == NIBBLES)
            dg_word_nibbles(words + r * n_words, n_words, nibbles + r * (n_words / 2));
    }
    ptrdiff_t begin = 0, end = n_words; /* words that are summed */
    for (ptrdiff_t t = 0; t < dg_n_tiles(to); t++) {
        struct dg_inputs inputs = {n_words, end - begin, words + begin,
                                   form == LISTS ? index : NULL, form == LISTS ? length : NULL,
                                   form == NIBBLES ? nibbles : NULL};
        ptrdiff_t group = dg_word_inputs(packed->layout);
        memset(acc, 0xA5, (size_t)(n_rows * DG_TILE) * sizeof *acc);
        fixed->product(&inputs, first, n_rows, DG_PLANES,
                       (down ? packed->down : packed->up) +
                           t * dg_tile_words(packed->layout, from->size) + begin * DG_TILE, acc);
        CHECK(!amx.configured, "%s: tiles are not released\n", name);
        for (ptrdiff_t r = 0; r < n_rows; r++)
            for (ptrdiff_t c = 0; c < DG_TILE; c++) {
                ptrdiff_t in = t % in_block * DG_TILE + c, j = t / in_block * block + in;
                int64_t sum = 0;
                for (ptrdiff_t k = begin * group;
                     in < block && j < to->size && k < dg_min(from->size, end * group); k++)
                    sum += states[(first + r) * from->size + k] *
                           number(q, upper, k, j, down);
                CHECK(acc[r * DG_TILE + c] == sum,
                      "%s: %d inputs, %d rows, %s, %s: sum %d, %d of tile %d is %d, not %lld\n",
                      name, (int)from->size, (int)n_rows, down ? "down" : "up",
                      forms[form], (int)r, (int)c, (int)t,
                      (int)acc[r * DG_TILE + c], (long long)sum);
            }
        n_compared++;
        if (form == WORDS) { /* any strip of the next tile */
            begin = draw((uint32_t)(n_words / DG_WORDS)) * DG_WORDS;
            end = begin + (1 + draw((uint32_t)((n_words - begin) / DG_WORDS))) * DG_WORDS;
        }
    }
    free(states), free(words), free(index), free(length), free(nibbles), free(acc);
}

/* Sums over rows of products of bytes: numbers of one plane. */
static void check_bytes(ptrdiff_t n_rows, ptrdiff_t n_lower, ptrdiff_t n_upper, int most)
{
    uint8_t *x = room((size_t)(n_rows * n_lower), 1), *y = room((size_t)(n_rows * n_upper), 1);
    struct rows lower = {DG_BYTES, 1.0f, n_rows, n_lower, x, NULL, NULL};
    struct rows upper = {DG_BYTES, 1.0f, n_rows, n_upper, y, NULL, NULL};
    for (ptrdiff_t i = 0; i < n_rows * n_lower; i++)
        x[i] = (uint8_t)(draw(4) ? draw((uint32_t)most + 1) : 0);
    for (ptrdiff_t i = 0; i < n_rows * n_upper; i++)
        y[i] = (uint8_t)draw(256);
    for (int i = 0; i < 3; i++) {
        const struct dg_fixed *fixed = operations[i];
        ptrdiff_t n_words = dg_n_words(fixed->sums_layout, n_rows);
        ptrdiff_t n_tiles = (n_upper + DG_TILE - 1) / DG_TILE;
        uint32_t *tiles = room((size_t)(n_tiles * n_words * DG_TILE), sizeof *tiles);
        uint32_t *words = room((size_t)(DG_TILE * n_words), sizeof *words);
        int32_t *places = room((size_t)(DG_TILE * n_words), sizeof *places), n_places[DG_TILE];
        int32_t *acc = room(DG_TILE * DG_TILE, sizeof *acc);
        for (ptrdiff_t w = 0; w < n_words; w++)
            dg_pack_bytes(fixed->sums_layout, &upper, n_upper, 0, n_rows, w, tiles);
        for (ptrdiff_t column = 0; column < n_lower; column += DG_TILE) {
            ptrdiff_t width = dg_min(DG_TILE, n_lower - column);
            struct dg_inputs inputs = dg_turn_bytes(fixed, &lower, 0, n_rows, column, width, words,
                                                    places, n_places);
            for (ptrdiff_t t = 0; t < n_tiles; t++) {
                fixed->product(&inputs, 0, width, 1, tiles + t * n_words * DG_TILE, acc);
                for (ptrdiff_t j = 0; j < width; j++)
                    for (ptrdiff_t c = 0; c < DG_TILE && t * DG_TILE + c < n_upper; c++) {
                        int64_t sum = 0;
                        for (ptrdiff_t r = 0; r < n_rows; r++)
                            sum += x[r * n_lower + column + j] * y[r * n_upper + t * DG_TILE + c];
                        CHECK(acc[j * DG_TILE + c] == sum, "%s: bytes of %d rows: %d, not %lld\n",
                              names[i], (int)n_rows, (int)acc[j * DG_TILE + c], (long long)sum);
                    }
                n_compared++;
            }
        }
        free(tiles), free(words), free(places), free(acc);
    }
    free(x), free(y);
}

static void check(struct layer lower, struct layer upper, struct rows_case how)
{
    size_t n = (size_t)(lower.size * upper.size);
    int32_t *q = room(n, sizeof *q), sign = draw(2) ? 1 : -1;
    float *weights = room(n, sizeof *weights), *before = room(n, sizeof *before);
    char *memory = room(dg_packed_bytes(&lower, &upper), 1);
    for (size_t i = 0; i < n; i++)
        q[i] = how.extreme ? sign * DG_LARGEST : (int32_t)draw(2 * DG_LARGEST + 1) - DG_LARGEST;
    q[draw((uint32_t)n)] = sign * DG_LARGEST; /* so the scale is the 2^-12 below */
    for (size_t i = 0; i < n; i++)
        before[n - 1 - i] = weights[i] = ldexpf((float)q[i], -12);
    for (int i = 0; i < 3; i++) {
        struct dg_packed packed = {.memory = memory};
        current.fixed = operations[i];
        if (dg_packs_by_pieces(&lower, &upper)) { /* as an update does, over the form of other weights */
            dg_pack(&packed, &lower, &upper, before, 1);
            for (ptrdiff_t first = 0; first < lower.size; first += DG_BLOCK)
                for (ptrdiff_t column = 0; column < upper.size; column += DG_TILE)
                    dg_pack_piece(&packed, &lower, &upper, weights, first, column,
                                  dg_min(DG_TILE, upper.size - column));
        } else {
            dg_pack(&packed, &lower, &upper, weights, 1);
        }
        check_packed(&packed, q, &upper, lower.size, &upper, 0, names[i]);
        check_packed(&packed, q, &upper, upper.size, &lower, 1, names[i]);
        for (enum form form = WORDS; form < FORMS; form++) {
            if (form == NIBBLES && (how.most > 1 || !operations[i]->reads_nibbles))
                continue;
            check_products(&packed, operations[i], q, &upper, &lower, &upper, 0, &how, form,
                           names[i]);
            check_products(&packed, operations[i], q, &upper, &upper, &lower, 1, &how, form,
                           names[i]);
        }
    }
    free(q), free(weights), free(before), free(memory);
}

static struct layer layer_of(ptrdiff_t size, ptrdiff_t group)
{
    int kind = group > 1 ? DG_SOFTMAX : DG_BINARY;
    return (struct layer){kind, 1, (size + group - 1) / group * group, group, NULL, NULL};
}

int main(void)
{
    static const ptrdiff_t n_rows[] = {1, 2, 3, 4, 5, 15, 16, 17, 31, 32, 33, 47, 48, 63, 100, 128};
    static const ptrdiff_t sizes[] = {1, 2, 3, 31, 32, 33, 63, 64, 65, 100, 127, 129, 257, 400};
    static const ptrdiff_t groups[] = {1, 1, 1, 3, 5, 32, 40, 70};
    static const int most[] = {1, 1, 1, 2, 3, 127, 128, 255};
    static const uint32_t densities[] = {0, 2, 15, 50, 100};
    current.transpose = transpose;
#define ONE_OF(list) list[draw(sizeof list / sizeof *list)]
    for (int i = 0; i < N_CASES; i++) {
        ptrdiff_t lower_group = ONE_OF(groups), upper_group = ONE_OF(groups);
        struct layer lower = layer_of(ONE_OF(sizes), lower_group);
        struct layer upper = layer_of(1 + draw(70), upper_group);
        struct rows_case how = {ONE_OF(n_rows), ONE_OF(most), ONE_OF(densities), 0};
        check(lower, upper, how);
    }
    /* the largest sums that a row may have, of either sign: 257 * 255 and 65,535 states */
    for (int i = 0; i < 4; i++)
        check(layer_of(257, 1), layer_of(3, 1), (struct rows_case){2, 255, 100, 1});
    check(layer_of(DG_MOST_STATES, 1), layer_of(1, 1), (struct rows_case){1, 1, 100, 1});
    for (ptrdiff_t n = 1; n <= 49; n++) /* every number of rows, to beyond three tiles of AMX */
        check(layer_of(33, 1), layer_of(3, 1), (struct rows_case){n, 3, 40, 0});
    for (ptrdiff_t n = 1; n <= 130; n = n < 40 ? n + 1 : n + 15)
        check_bytes(n, 1 + draw(70), 1 + draw(70), n % 2 ? 1 : 255);
    check_bytes(1024, 33, 3, 255);
    printf("%ld products\n", n_compared);
    return 0;
}

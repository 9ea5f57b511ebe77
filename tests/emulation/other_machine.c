/* What the kernels compute on whatever machine this is compiled for: hashes that are to be equal.
 *
 *     other_machine BACK_END        prints a line for each piece of work: its name and a hash
 *
 * Learning of a binary machine (fixed-point weights), Gibbs sweeps of real and categorical units
 * (float weights), and a mean-field fixed point; sizes are no multiples of a tile. Python, its
 * packages and their files are not needed, so an emulator runs it in seconds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "conditional.h"
#include "mean_field.h"
#include "phases.h"

#define N_ROWS 37

static uint64_t hash(const void *data, size_t n_bytes, uint64_t h)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < n_bytes; i++)
        h = (h ^ bytes[i]) * 0x100000001B3u; /* FNV-1a */
    return h;
}

#define SEED 0xCBF29CE484222325u

static void *room(size_t n_bytes)
{
    void *memory = calloc(1, n_bytes + 64);
    if (!memory)
        exit(2);
    return memory;
}

/* Numbers between -scale and scale, the same everywhere: of integers and one product. */
static float *numbers(ptrdiff_t n, float scale, uint32_t state)
{
    float *out = room(n * sizeof *out);
    for (ptrdiff_t i = 0; i < n; i++) {
        state = state * 1664525u + 1013904223u;
        out[i] = scale * ((float)(int32_t)(state >> 8) - 0x1p23f) * 0x1p-23f;
    }
    return out;
}

static uint8_t *bits(ptrdiff_t n, uint32_t state)
{
    float *values = numbers(n, 1.0f, state);
    uint8_t *out = room(n);
    for (ptrdiff_t i = 0; i < n; i++)
        out[i] = values[i] > 0.3f;
    free(values);
    return out;
}

static struct layer units(enum dg_kind kind, ptrdiff_t size, ptrdiff_t group, uint32_t seed)
{
    struct layer layer = {.kind = kind, .n_copies = 1, .size = size, .group = group};
    layer.bias = numbers(size, 0.5f, seed);
    if (kind == DG_GAUSSIAN) {
        float *precision = numbers(size, 0.4f, seed + 1);
        for (ptrdiff_t i = 0; i < size; i++)
            precision[i] += 1.0f;
        layer.precision = precision;
    }
    return layer;
}

static struct rows bytes_of(const uint8_t *data, ptrdiff_t size)
{
    return (struct rows){.storage = DG_BYTES, .unit = 1.0f, .n_rows = N_ROWS, .stride = size,
                         .data = data};
}

static struct rows floats_of(const float *data, ptrdiff_t size)
{
    return (struct rows){.storage = DG_FLOATS, .unit = 1.0f, .n_rows = N_ROWS, .stride = size,
                         .data = data};
}

static void learn(void)
{
    enum { LOWER = 61, UPPER = 45 };
    struct chain chain = {.n_layers = 2};
    chain.layers[0] = units(DG_BINARY, LOWER, 1, 1);
    chain.layers[1] = units(DG_BINARY, UPPER, 1, 2);
    float *weights = numbers(LOWER * UPPER, 0.3f, 3), *velocity = room(sizeof(float) * LOWER * UPPER);
    struct dg_packed packed = {
        .memory = room(dg_packed_bytes(&chain.layers[0], &chain.layers[1]))};
    dg_pack(&packed, &chain.layers[0], &chain.layers[1], weights, 1);
    chain.weights[0] = weights;
    chain.packed[0] = &packed;
    struct dg_repack repack = {&packed, &chain.layers[0], &chain.layers[1]};
    struct dg_update update = {.scale_positive = 1.0f / N_ROWS, .scale_negative = 1.0f / N_ROWS,
                               .learning_rate = 0.3f, .momentum = 0.7f, .weight_decay = 1e-3f};
    const struct context none[2] = {{0}};
    void *scratch = room(dg_conditional_bytes(&chain, N_ROWS, 1) +
                         dg_update_bytes(N_ROWS, N_ROWS, LOWER, UPPER, 1));
    uint8_t *data = bits(N_ROWS * LOWER, 4), *down = room(N_ROWS * LOWER);
    uint8_t *up = room(N_ROWS * UPPER);
    float *means = room(sizeof(float) * N_ROWS * UPPER);
    double *logs = room(sizeof(double) * N_ROWS);
    uint64_t h = SEED;
    for (int step = 0; step < 20; step++) {
        struct dg_stream stream = {.key = 7, .step = step, .purpose = 1u << 24 | 1u << 16};
        struct rows states[2] = {bytes_of(data, LOWER), bytes_of(up, UPPER)};
        struct dg_outputs out = {.mean = means, .sample_bytes = up};
        dg_conditional(&chain, 1, states, &none[1], &stream, &out, NULL, N_ROWS, scratch, 1);
        struct dg_phase positive = {states[0], states[1]};
        uint8_t *first = room(N_ROWS * UPPER);
        memcpy(first, up, N_ROWS * UPPER);
        positive.upper.data = first;
        stream.purpose = 2u << 24;
        out = (struct dg_outputs){.sample_bytes = down};
        dg_conditional(&chain, 0, states, &none[0], &stream, &out, NULL, N_ROWS, scratch, 1);
        states[0].data = down;
        stream.purpose = 3u << 24 | 1u << 16;
        out = (struct dg_outputs){.mean = means, .sample_bytes = up};
        dg_conditional(&chain, 1, states, &none[1], &stream, &out, logs, N_ROWS, scratch, 1);
        struct dg_phase negative = {states[0], states[1]};
        if (dg_update_weights(&positive, &negative, LOWER, UPPER, &update, NULL, weights, velocity,
                              NULL, &repack, scratch, 1))
            exit(3);
        free(first);
        h = hash(means, sizeof(float) * N_ROWS * UPPER, h);
    }
    h = hash(weights, sizeof(float) * LOWER * UPPER, h);
    printf("learning %016llx\n", (unsigned long long)h);
    printf("normalizers %016llx\n", (unsigned long long)hash(logs, sizeof(double) * N_ROWS, SEED));
}

static void sample(void)
{
    enum { REAL = 19, NAMES = 35, BITS = 33 };
    struct chain chain = {.n_layers = 3};
    chain.layers[0] = units(DG_GAUSSIAN, REAL, 1, 5);
    chain.layers[1] = units(DG_BINARY, BITS, 1, 6);
    chain.layers[2] = units(DG_SOFTMAX, NAMES, 5, 7);
    chain.weights[0] = numbers(REAL * BITS, 0.4f, 8);
    chain.weights[1] = numbers(BITS * NAMES, 0.4f, 9);
    const uint8_t free_layers[3] = {1, 1, 1};
    const struct context none[3] = {{0}};
    float *real = numbers(N_ROWS * REAL, 1.0f, 10);
    uint8_t *middle = bits(N_ROWS * BITS, 11), *names = room(N_ROWS * NAMES);
    for (ptrdiff_t i = 0; i < N_ROWS * NAMES; i += 5)
        names[i + i / 5 % 5] = 1;
    struct rows states[3] = {floats_of(real, REAL), bytes_of(middle, BITS),
                             bytes_of(names, NAMES)};
    struct dg_stream stream = {.key = 1ull << 40 | 9, .first_row = 5, .purpose = 1u << 24};
    void *scratch = room(dg_conditional_bytes(&chain, N_ROWS, 1));
    dg_gibbs(&chain, free_layers, states, none, &stream, 12, N_ROWS, scratch, 1);
    uint64_t h = hash(real, sizeof(float) * N_ROWS * REAL, SEED);
    h = hash(names, N_ROWS * NAMES, hash(middle, N_ROWS * BITS, h));
    printf("sampling %016llx\n", (unsigned long long)h);
}

static void infer(void)
{
    enum { FIRST = 40, SECOND = 37, THIRD = 21 };
    const ptrdiff_t sizes[3] = {FIRST, SECOND, THIRD};
    struct chain chain = {.n_layers = 3};
    struct rows means[3];
    for (int l = 0; l < 3; l++) {
        chain.layers[l] = units(DG_BINARY, sizes[l], 1, 20 + l);
        float *start = numbers(N_ROWS * sizes[l], 0.5f, 30 + l);
        for (ptrdiff_t i = 0; i < N_ROWS * sizes[l]; i++)
            start[i] += 0.5f;
        means[l] = floats_of(start, sizes[l]);
    }
    chain.weights[0] = numbers(FIRST * SECOND, 0.2f, 40);
    chain.weights[1] = numbers(SECOND * THIRD, 0.2f, 41);
    const struct context none[3] = {{0}};
    const struct dg_fixed_point until = {.max_sweeps = 30, .first_parity = 1, .tolerance = 1e-4f,
                                         .damping = 0.25f};
    int32_t *sweeps = room(sizeof *sweeps * N_ROWS);
    float *change = room(sizeof *change * N_ROWS);
    dg_mean_field(&chain, means, none, &until, sweeps, change, N_ROWS,
                  room(dg_mean_field_bytes(&chain, N_ROWS, 0, 1)), 1);
    uint64_t h = hash(sweeps, sizeof *sweeps * N_ROWS, SEED);
    for (int l = 0; l < 3; l++)
        h = hash(means[l].data, sizeof(float) * N_ROWS * sizes[l], h);
    printf("inference %016llx\n", (unsigned long long)h);
}

int main(int n_arguments, char **arguments)
{
    if (n_arguments != 2 || dg_backend_select(arguments[1])) {
        fprintf(stderr, "no such back end here\n");
        return 4;
    }
    learn();
    sample();
    infer();
    return 0;
}

/* Portable C in the place of <immintrin.h>, for the instructions that fixed_vnni.c and fixed_amx.c
 * name: as Intel's manual states them, with aborts where the machine would fault. */
#ifndef DEEPGEN_EMULATION_INTRINSICS_H
#define DEEPGEN_EMULATION_INTRINSICS_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MUST(condition)                                                                     \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            fprintf(stderr, "%s:%d: would fault: %s\n", __FILE__, __LINE__, #condition);    \
            abort();                                                                        \
        }                                                                                   \
    } while (0)

/* --- AVX-512 --------------------------------------------------------------------------------- */

typedef uint32_t __m512i __attribute__((vector_size(64)));

static inline __m512i _mm512_set1_epi32(int x)
{
    __m512i out;
    for (int i = 0; i < 16; i++)
        out[i] = (uint32_t)x;
    return out;
}

static inline __m512i _mm512_set1_epi8(char x)
{
    return _mm512_set1_epi32((int)(0x01010101u * (uint8_t)x));
}

static inline __m512i _mm512_setzero_si512(void)
{
    return _mm512_set1_epi32(0);
}

static inline __m512i _mm512_loadu_si512(const void *from)
{
    __m512i out;
    memcpy(&out, from, sizeof out);
    return out;
}

static inline void _mm512_storeu_si512(void *to, __m512i x)
{
    memcpy(to, &x, sizeof x);
}

typedef uint16_t __mmask16;

static inline __m512i _mm512_setr_epi32(int a, int b, int c, int d, int e, int f, int g, int h,
                                        int i, int j, int k, int l, int m, int n, int o, int p)
{
    const int lanes[16] = {a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p};
    return _mm512_loadu_si512(lanes);
}

static inline __m512i _mm512_maskz_loadu_epi32(__mmask16 mask, const void *from)
{
    __m512i out = _mm512_set1_epi32(0);
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1)
            out[i] = ((const uint32_t *)from)[i];
    return out;
}

static inline void _mm512_mask_storeu_epi32(void *to, __mmask16 mask, __m512i x)
{
    for (int i = 0; i < 16; i++)
        if (mask >> i & 1)
            ((uint32_t *)to)[i] = x[i];
}

static inline __mmask16 _mm512_test_epi32_mask(__m512i a, __m512i b)
{
    __mmask16 out = 0;
    for (int i = 0; i < 16; i++)
        out |= (__mmask16)(((a[i] & b[i]) != 0) << i);
    return out;
}

static inline __m512i _mm512_maskz_compress_epi32(__mmask16 mask, __m512i x)
{
    __m512i out = _mm512_set1_epi32(0);
    for (int i = 0, n = 0; i < 16; i++)
        if (mask >> i & 1)
            out[n++] = x[i];
    return out;
}

static inline __m512i _mm512_add_epi32(__m512i a, __m512i b)
{
    for (int i = 0; i < 16; i++)
        a[i] += b[i];
    return a;
}

static inline __m512i _mm512_slli_epi32(__m512i a, unsigned count)
{
    for (int i = 0; i < 16; i++)
        a[i] = count < 32 ? a[i] << count : 0;
    return a;
}

static inline __m512i _mm512_srai_epi32(__m512i a, unsigned count)
{
    for (int i = 0; i < 16; i++)
        a[i] = (uint32_t)((int32_t)a[i] >> (count < 32 ? count : 31));
    return a;
}

static inline int _mm512_reduce_add_epi32(__m512i a)
{
    uint32_t sum = 0;
    for (int i = 0; i < 16; i++)
        sum += a[i];
    return (int)sum;
}

static inline uint32_t dot(uint32_t sum, uint32_t a, uint32_t b, int b_is_signed)
{
    for (int i = 0; i < 32; i += 8) {
        int first = (uint8_t)(a >> i), second = (uint8_t)(b >> i);
        if (b_is_signed)
            second = (int8_t)second;
        sum += (uint32_t)(first * second);
    }
    return sum;
}

/* VPDPBUSD: the first factor is unsigned, the second one signed; nothing saturates. */
static inline __m512i _mm512_dpbusd_epi32(__m512i sum, __m512i a, __m512i b)
{
    for (int i = 0; i < 16; i++)
        sum[i] = dot(sum[i], a[i], b[i], 1);
    return sum;
}

/* VPDPWSSD: both factors are signed, 16 bits each; nothing saturates. */
static inline __m512i _mm512_dpwssd_epi32(__m512i sum, __m512i a, __m512i b)
{
    for (int i = 0; i < 16; i++)
        sum[i] += (uint32_t)((int16_t)a[i] * (int16_t)b[i]) +
                  (uint32_t)((int16_t)(a[i] >> 16) * (int16_t)(b[i] >> 16));
    return sum;
}

/* --- AMX ------------------------------------------------------------------------------------- */

struct emulated_tile {
    int rows, line; /* as configured; zero: no such tile */
    uint32_t word[16][16];
};

struct emulated_amx {
    int configured;
    struct emulated_tile tile[8];
};

extern struct emulated_amx amx; /* of the only thread */

static inline struct emulated_tile *tile_of(int t)
{
    MUST(amx.configured && t >= 0 && t < 8 && amx.tile[t].rows && amx.tile[t].line);
    return &amx.tile[t];
}

static inline void _tile_loadconfig(const void *config)
{
    const uint8_t *bytes = config;
    MUST(bytes[0] == 1 && bytes[1] == 0);
    for (int i = 2; i < 16; i++)
        MUST(bytes[i] == 0);
    memset(&amx, 0, sizeof amx);
    amx.configured = 1;
    for (int t = 0; t < 8; t++) {
        uint16_t line;
        memcpy(&line, bytes + 16 + 2 * t, sizeof line);
        amx.tile[t].line = line;
        amx.tile[t].rows = bytes[48 + t];
        MUST(line <= 64 && line % 4 == 0 && bytes[48 + t] <= 16);
        MUST((line == 0) == (bytes[48 + t] == 0));
    }
    for (int i = 32; i < 48; i++)
        MUST(bytes[i] == 0);
    for (int i = 56; i < 64; i++)
        MUST(bytes[i] == 0);
}

static inline void _tile_release(void)
{
    memset(&amx, 0, sizeof amx);
}

static inline void _tile_zero(int t)
{
    memset(tile_of(t)->word, 0, sizeof amx.tile[t].word);
}

static inline void _tile_loadd(int t, const void *from, ptrdiff_t stride)
{
    struct emulated_tile *tile = tile_of(t);
    memset(tile->word, 0, sizeof tile->word);
    for (int r = 0; r < tile->rows; r++)
        memcpy(tile->word[r], (const char *)from + r * stride, (size_t)tile->line);
}

static inline void _tile_stored(int t, void *to, ptrdiff_t stride)
{
    struct emulated_tile *tile = tile_of(t);
    for (int r = 0; r < tile->rows; r++)
        memcpy((char *)to + r * stride, tile->word[r], (size_t)tile->line);
}

static inline void tile_dot(int sum, int a, int b, int b_is_signed)
{
    struct emulated_tile *s = tile_of(sum), *x = tile_of(a), *y = tile_of(b);
    MUST(sum != a && sum != b && a != b);
    MUST(s->rows == x->rows && s->line == y->line && x->line == 4 * y->rows);
    for (int r = 0; r < s->rows; r++)
        for (int k = 0; k < y->rows; k++)
            for (int c = 0; c < s->line / 4; c++)
                s->word[r][c] = dot(s->word[r][c], x->word[r][k], y->word[k][c], b_is_signed);
}

/* TDPBUSD and TDPBUUD */
static inline void _tile_dpbusd(int sum, int a, int b)
{
    tile_dot(sum, a, b, 1);
}

static inline void _tile_dpbuud(int sum, int a, int b)
{
    tile_dot(sum, a, b, 0);
}

#endif

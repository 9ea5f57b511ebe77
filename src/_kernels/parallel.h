/* OpenMP where the compiler has it, else serial code from the same text. */
#ifndef DEEPGEN_PARALLEL_H
#define DEEPGEN_PARALLEL_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h> /* defines __GLIBC__ where it applies */

/* Plain loops outside the tile kernels, compiled for several instruction sets; without
 * contraction they give the same bits from each. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__GLIBC__)
#define DG_CLONES __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define DG_CLONES
#endif

#ifdef _OPENMP
#include <omp.h>
#define DG_OMP(text) _Pragma(#text)
#else
#define DG_OMP(text)
static inline int omp_get_thread_num(void) { return 0; }
#endif

/* Work is cut into at least so many tasks for each thread, where its size allows it, so that none
 * waits long for the last one. No bit depends on it. */
#define DG_TASKS 3

/* Scratch memory comes from the caller, is cut here, and is never allocated in a kernel. */
struct dg_arena {
    char *next;
    size_t used; /* counted also when `next` is NULL: that is how the size is asked for */
};

static inline void *dg_take(struct dg_arena *arena, size_t bytes)
{
    void *here = arena->next ? arena->next + arena->used : NULL;
    arena->used += (bytes + 63) / 64 * 64;
    return here;
}

static inline ptrdiff_t dg_round_up(ptrdiff_t n, ptrdiff_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

static inline ptrdiff_t dg_min(ptrdiff_t a, ptrdiff_t b)
{
    return a < b ? a : b;
}

#endif

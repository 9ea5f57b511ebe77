/* OpenMP where the compiler has it, else serial code from the same text. */
#ifndef DEEPGEN_PARALLEL_H
#define DEEPGEN_PARALLEL_H

#include <stddef.h>
#include <stdint.h>
#include <stdlib.h> /* defines __GLIBC__ where it applies */

/* Plain loops outside the tile kernels, compiled for several instruction sets; without
 * contraction they give the same bits from each. The choice between them is made before the thread
 * sanitizer is there, which would look at it. */
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && defined(__GLIBC__) && \
    !defined(__SANITIZE_THREAD__)
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

/* Floats below the smallest normal one, 1.2e-38, are taken for zero and made zero until the end of
 * the block: `DG_FLUSH;` stands at the head of each parallel region, or of the body of its loop. An
 * operation with one of them takes a hundred cycles or more on some processors, and saturated units
 * make many. The state of the thread, which may be another library's too, is put back. */
#ifdef __x86_64__
#define DG_FLUSHING 0x8040u /* of MXCSR: results, and operands */

static inline unsigned dg_flush_subnormals(void)
{
    unsigned before = __builtin_ia32_stmxcsr();
    __builtin_ia32_ldmxcsr(before | DG_FLUSHING);
    return before;
}

static inline void dg_put_float_mode_back(const unsigned *before)
{
    __builtin_ia32_ldmxcsr(*before);
}

#define DG_FLUSH \
    const unsigned dg_float_mode __attribute__((cleanup(dg_put_float_mode_back), unused)) = \
        dg_flush_subnormals()
#else
#define DG_FLUSH (void)0
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

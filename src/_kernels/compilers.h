/* What compilers have other names for. */
#ifndef DEEPGEN_COMPILERS_H
#define DEEPGEN_COMPILERS_H

/* Lanes of two vectors a, b of unsigned integers, by number; those of b follow those of a.
 * GCC has the first name since version 12, and Clang has not the second. */
#if defined(__clang__) || __GNUC__ >= 12
#define DG_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#define DG_SHUFFLE(a, b, ...) __builtin_shuffle(a, b, (__typeof__(a)){__VA_ARGS__})
#endif

#endif

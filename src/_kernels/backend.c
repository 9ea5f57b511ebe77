#include "backend.h"

#include <stdlib.h>
#include <string.h>

/* --- what this machine runs ------------------------------------------------------------------ */

static int always(void)
{
    return 1;
}

#ifdef __x86_64__
#include <cpuid.h>

static int has_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
}

static int has_avx512(void)
{
    return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

/* What follows is read by hand: not every compiler knows the names. Bits of CPUID leaf 7. */
#define VNNI_IN_ECX (1u << 11)
#define AMX_IN_EDX (1u << 24 | 1u << 25) /* tiles, and products of bytes */

static inline int has_bits(unsigned in_ecx, unsigned in_edx)
{
    unsigned eax, ebx, ecx = 0, edx = 0;
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ecx & in_ecx) == in_ecx &&
           (edx & in_edx) == in_edx;
}

#ifndef DG_NO_VNNI
static int has_vnni(void)
{
    return has_avx512() && has_bits(VNNI_IN_ECX, 0);
}
#endif

#if !defined(DG_NO_AMX) && defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>

#define XCR0_TILES (1u << 17 | 1u << 18)
#define ARCH_REQ_XCOMP_PERM 0x1023 /* asm/prctl.h of Linux 5.16 */
#define XFEATURE_XTILEDATA 18

/* A process has to ask once for the memory that tiles take in each of its threads. */
static int has_amx(void)
{
    static int allowed = -1;
    unsigned low, high;
    if (allowed >= 0)
        return allowed;
    allowed = 0;
    if (has_avx512() && has_bits(0, AMX_IN_EDX)) { /* AVX-512 in use: XGETBV is there */
        __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
        allowed = (low & XCR0_TILES) == XCR0_TILES &&
                  syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
    }
    return allowed;
}
#endif
#endif

/* --- the choice ------------------------------------------------------------------------------ */

static const struct {
    const struct dg_backend *backend;
    int (*runs)(void);
} choices[] = {
    /* the best one last */
    {&dg_backend_generic, always},
#ifdef __x86_64__
    {&dg_backend_avx2, has_avx2},
    {&dg_backend_avx512, has_avx512},
#ifndef DG_NO_VNNI
    {&dg_backend_vnni, has_vnni},
#endif
#if !defined(DG_NO_AMX) && defined(__linux__)
    {&dg_backend_amx, has_amx},
#endif
#endif
};

#define N_CHOICES ((int)(sizeof choices / sizeof *choices))

static const struct dg_backend *chosen = NULL;

const char *dg_backend_name(int n)
{
    for (int i = 0; i < N_CHOICES; i++)
        if (choices[i].runs() && n-- == 0)
            return choices[i].backend->name;
    return NULL;
}

int dg_backend_select(const char *name)
{
    for (int i = 0; i < N_CHOICES; i++)
        if (strcmp(choices[i].backend->name, name) == 0 && choices[i].runs()) {
            chosen = choices[i].backend;
            return 0;
        }
    return -1;
}

const struct dg_backend *dg_backend(void)
{
    if (!chosen) {
        const char *wish = getenv("DEEPGEN_CPU");
        if (!wish || dg_backend_select(wish) != 0)
            for (int i = N_CHOICES; !chosen; i--) /* the first one always runs */
                if (choices[i - 1].runs())
                    chosen = choices[i - 1].backend;
    }
    return chosen;
}

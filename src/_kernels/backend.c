#include "backend.h"

#include <stdlib.h>
#include <string.h>

static const struct dg_backend *chosen = NULL;

int dg_backend_available(const char *name)
{
    if (strcmp(name, "generic") == 0)
        return 1;
#ifdef __x86_64__
    __builtin_cpu_init();
    if (strcmp(name, "avx2") == 0)
        return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    if (strcmp(name, "avx512") == 0)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
               __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
#endif
    return 0;
}

int dg_backend_select(const char *name)
{
    if (!dg_backend_available(name))
        return -1;
    chosen = &dg_backend_generic;
#ifdef __x86_64__
    if (strcmp(name, "avx2") == 0)
        chosen = &dg_backend_avx2;
    if (strcmp(name, "avx512") == 0)
        chosen = &dg_backend_avx512;
#endif
    return 0;
}

const struct dg_backend *dg_backend(void)
{
    if (!chosen) {
        const char *wish = getenv("DEEPGEN_CPU");
        if (!wish || dg_backend_select(wish) != 0)
            if (dg_backend_select("avx512") != 0 && dg_backend_select("avx2") != 0)
                dg_backend_select("generic");
    }
    return chosen;
}

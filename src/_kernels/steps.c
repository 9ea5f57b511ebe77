#include "steps.h"

#include <math.h>

#include "parallel.h"

#define STEP_BLOCK 16384

DG_CLONES
static void adam_block(float *gradient, float *first, float *second, ptrdiff_t n, float new_first,
                       float new_second, float rate, float correction, float epsilon)
{
    for (ptrdiff_t i = 0; i < n; i++) {
        float g = gradient[i];
        float m = first[i] + new_first * (g - first[i]);
        float s = second[i] + new_second * (g * g - second[i]);
        first[i] = m;
        second[i] = s;
        gradient[i] = rate * m / (sqrtf(s / correction) + epsilon);
    }
}

void dg_adam_change(float *gradient, float *first, float *second, ptrdiff_t n, float new_first,
                    float new_second, float rate, float correction, float epsilon, int n_threads)
{
    DG_OMP(omp parallel for num_threads(n_threads) if (n_threads > 1) schedule(static))
    for (ptrdiff_t i = 0; i < n; i += STEP_BLOCK)
        adam_block(gradient + i, first + i, second + i, dg_min(STEP_BLOCK, n - i), new_first,
                   new_second, rate, correction, epsilon);
}

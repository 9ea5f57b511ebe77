/* Steps of optimizers over whole arrays; each function says what it does to n neighbouring numbers,
 * and arrays are cut into blocks for the threads. */
#include "steps.h"

#include <math.h>

#include "elementwise.h"
#include "parallel.h"

/* Parameters of one task where a single pass over them is made. */
#define STEP_BLOCK 16384
/* Parameters of which all that is visited stays in the first-level cache. */
#define VISIT_BLOCK 1024

/* first += new_first (g - first);  second += new_second (g^2 - second);
 * gradient = rate first / (sqrt(second / correction) + epsilon): the change, to be subtracted. */
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
    for (ptrdiff_t i = 0; i < n; i += STEP_BLOCK) {
        DG_FLUSH;
        adam_block(gradient + i, first + i, second + i, dg_min(STEP_BLOCK, n - i), new_first,
                   new_second, rate, correction, epsilon);
    }
}

/* velocity = momentum velocity + gradient;  gradient = rate velocity: the change, to be subtracted.
 * Without a velocity (NULL) the gradient takes its place. */
DG_CLONES
static void sgd_block(float *gradient, float *velocity, ptrdiff_t n, float momentum, float rate)
{
    if (velocity)
        for (ptrdiff_t i = 0; i < n; i++)
            gradient[i] = velocity[i] = velocity[i] * momentum + gradient[i];
    for (ptrdiff_t i = 0; i < n; i++)
        gradient[i] *= rate;
}

/* parameters -= change;  average += averaging (parameters - average), if not NULL. Returns whether
 * a new parameter is infinite or not a number: its exponent bits are all ones. */
DG_CLONES
static int subtract_block(float *parameters, const float *change, float *average, ptrdiff_t n,
                          float averaging)
{
    int32_t overflow = 0;
    for (ptrdiff_t i = 0; i < n; i++) {
        parameters[i] -= change[i];
        overflow |= (dg_bits(parameters[i]) & 0x7F800000) == 0x7F800000 ? 1 : 0;
    }
    if (average)
        for (ptrdiff_t i = 0; i < n; i++)
            average[i] += averaging * (parameters[i] - average[i]);
    return (int)overflow;
}

/* gradient += weight_decay parameters: of the penalty weight_decay / 2 times their square. */
DG_CLONES
static void decay_block(float *gradient, const float *parameters, ptrdiff_t n, float weight_decay)
{
    for (ptrdiff_t i = 0; i < n; i++)
        gradient[i] += weight_decay * parameters[i];
}

/* Decay, change and step follow each other within a block, which stays in the first-level cache, so
 * that memory is read and written once. */
int dg_descend(const struct dg_descent *d, int n_threads)
{
    int overflow = 0;
    DG_OMP(omp parallel for num_threads(n_threads) if (n_threads > 1) schedule(static)
           reduction(| : overflow))
    for (ptrdiff_t i = 0; i < d->n; i += VISIT_BLOCK) {
        DG_FLUSH;
        ptrdiff_t n = dg_min(VISIT_BLOCK, d->n - i);
        float *gradient = d->gradient + i, *parameters = d->parameters + i;
        if (d->weight_decay != 0.0f)
            decay_block(gradient, parameters, n, d->weight_decay);
        if (d->second)
            adam_block(gradient, d->first + i, d->second + i, n, d->new_first, d->new_second,
                       d->rate, d->correction, d->epsilon);
        else
            sgd_block(gradient, d->first ? d->first + i : NULL, n, d->momentum, d->rate);
        overflow |= subtract_block(parameters, gradient, d->average ? d->average + i : NULL, n,
                                   d->averaging);
    }
    return overflow;
}

DG_CLONES
void dg_logistic_gradient(float *gradient, const float *output, ptrdiff_t n)
{
    DG_FLUSH;
    for (ptrdiff_t i = 0; i < n; i++) {
        float by_output = gradient[i] * output[i];
        gradient[i] = by_output - by_output * output[i];
    }
}

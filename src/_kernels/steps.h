/* Steps of optimizers that are elementwise over whole arrays. */
#ifndef DEEPGEN_STEPS_H
#define DEEPGEN_STEPS_H

#include <stddef.h>

/* The change of n parameters by Adam (docs/math.md, "One update"): gradient becomes
 * rate * first / (sqrt(second / correction) + epsilon), after both moments have moved. */
void dg_adam_change(float *gradient, float *first, float *second, ptrdiff_t n, float new_first,
                    float new_second, float rate, float correction, float epsilon,
                    int n_threads);

/* One visit to n parameters and all that belongs to them. */
struct dg_descent {
    float *parameters, *gradient; /* the gradient is not kept */
    float *first, *second;        /* Adam: moments. SGD: velocity or NULL, and NULL */
    float *average;               /* or NULL: += averaging * (parameters - average) */
    ptrdiff_t n;
    float weight_decay;           /* added to the gradient, times the parameter */
    float rate, averaging;
    float momentum;                                     /* SGD */
    float new_first, new_second, correction, epsilon;   /* Adam, see dg_adam_change */
};

/* parameters -= change, by Adam where there are second moments, else by SGD. Returns 1 where a
 * new parameter is not finite. */
int dg_descend(const struct dg_descent *descent, int n_threads);

/* gradient = gradient output (1 - output): by the outputs of n logistic units, then by their
 * fields. */
void dg_logistic_gradient(float *gradient, const float *output, ptrdiff_t n);

#endif

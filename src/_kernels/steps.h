/* Steps of optimizers that are elementwise over whole arrays. */
#ifndef DEEPGEN_STEPS_H
#define DEEPGEN_STEPS_H

#include <stddef.h>

/* The change of n parameters by Adam (docs/math.md, "One update"): gradient becomes
 * rate * first / (sqrt(second / correction) + epsilon), after both moments have moved. */
void dg_adam_change(float *gradient, float *first, float *second, ptrdiff_t n, float new_first,
                    float new_second, float rate, float correction, float epsilon,
                    int n_threads);

#endif

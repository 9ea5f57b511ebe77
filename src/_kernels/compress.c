#include "compress.h"

#include <string.h>

#include "parallel.h"

#define STRIP 16 /* columns that are looked at together: in a document most are zero */

DG_CLONES
static int64_t entries_of(const float *x, ptrdiff_t n)
{
    int32_t count = 0;
    for (ptrdiff_t j = 0; j < n; j++)
        count += x[j] != 0.0f;
    return count;
}

int64_t dg_entry_starts(const float *states, ptrdiff_t n_rows, ptrdiff_t n_columns, int64_t *start)
{
    start[0] = 0;
    for (ptrdiff_t r = 0; r < n_rows; r++)
        start[r + 1] = start[r] + entries_of(states + r * n_columns, n_columns);
    return start[n_rows];
}

/* Whether one of STRIP numbers is not zero, by their bits. */
static inline int is_any(const float *x)
{
    uint64_t words[STRIP / 2], any = 0;
    memcpy(words, x, sizeof words);
    for (int w = 0; w < STRIP / 2; w++)
        any |= words[w];
    return any != 0;
}

/* No branch at a number: data are hard to predict. So what comes after the last is written too. */
DG_CLONES
static int64_t list_row(const float *x, ptrdiff_t n, float *value, int32_t *index)
{
    int64_t at = 0;
    for (ptrdiff_t first = 0; first < n; first += STRIP) {
        ptrdiff_t end = first + STRIP < n ? first + STRIP : n;
        if (end - first == STRIP && !is_any(x + first))
            continue;
        for (ptrdiff_t j = first; j < end; j++) {
            value[at] = x[j];
            index[at] = (int32_t)j;
            at += x[j] != 0.0f;
        }
    }
    return at;
}

void dg_list_entries(const float *states, ptrdiff_t n_rows, ptrdiff_t n_columns, float *value,
                     int32_t *index)
{
    for (ptrdiff_t r = 0; r < n_rows; r++) {
        int64_t n = list_row(states + r * n_columns, n_columns, value, index);
        value += n;
        index += n;
    }
}

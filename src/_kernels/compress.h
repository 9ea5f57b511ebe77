/* Rows of counts as short lists: most columns of a document are zero. */
#ifndef DEEPGEN_COMPRESS_H
#define DEEPGEN_COMPRESS_H

#include <stddef.h>
#include <stdint.h>

/* start[r] .. start[r + 1]: OUT, where the entries of row r that are not zero will lie. Returns how
 * many there are in all. states: (n_rows, n_columns). */
int64_t dg_entry_starts(const float *states, ptrdiff_t n_rows, ptrdiff_t n_columns,
                        int64_t *start);

/* value and index: OUT, those entries and their columns, row by row. They have room
 * for one more than there are. */
void dg_list_entries(const float *states, ptrdiff_t n_rows, ptrdiff_t n_columns, float *value,
                     int32_t *index);

#endif

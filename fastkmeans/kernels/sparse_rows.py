"""Compressed rows in the one form that the other kernels read: columns ascending, none twice."""

from __future__ import annotations

import numpy as np

from .jit import kernel


@kernel
def tidy_rows(starts, columns, values, d, new_starts, new_columns, new_values):
    """Sort the entries of every row by column, and add those of one column in the order in which they are stored.

    starts (m + 1,) int64, columns below d, values (entries,) of any dtype IN; new_starts, new_columns, new_values the
    same OUT.  Returns how many entries are left.  Sums are rounded in the dtype of the values, entry by entry.
    Entries are dealt out by column, and then by row: each keeps the order that was there before.
    """
    size = columns.shape[0]
    places = np.zeros(d + 1, np.int64)
    for e in range(size):
        places[columns[e] + 1] += 1
    for j in range(d):
        places[j + 1] += places[j]
    by_column, by_row, rows = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64)
    for e in range(size):
        by_column[places[columns[e]]] = e
        places[columns[e]] += 1
    for i in range(starts.shape[0] - 1):
        new_starts[i] = starts[i]
        for e in range(starts[i], starts[i + 1]):
            rows[e] = i
    for e in by_column:
        i = rows[e]
        by_row[new_starts[i]] = e
        new_starts[i] += 1
    count = 0
    new_starts[0] = 0
    for i in range(starts.shape[0] - 1):
        begin = count
        for place in range(starts[i], starts[i + 1]):
            e = by_row[place]
            if count > begin and new_columns[count - 1] == columns[e]:
                new_values[count - 1] += values[e]
            else:
                new_columns[count], new_values[count] = columns[e], values[e]
                count += 1
        new_starts[i + 1] = count
    return count

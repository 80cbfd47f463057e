"""Compressed rows in the one form that the other kernels read: columns ascending, none twice."""

from __future__ import annotations

import numpy as np

from .jit import kernel


@kernel
def tidy_rows(starts, columns, values, new_starts, new_columns, new_values):
    """Sort the entries of every row by column, and add those of one column in the order in which they are stored.

    starts (m + 1,) int64, columns, values (entries,) of any dtype IN; new_starts, new_columns, new_values the same OUT.
    Returns how many entries are left.  Sums are rounded in the dtype of the values, entry by entry.
    """
    count = 0
    new_starts[0] = 0
    for i in range(starts.shape[0] - 1):
        first, last = starts[i], starts[i + 1]
        ascending = True
        for e in range(first + 1, last):
            ascending = ascending and columns[e - 1] < columns[e]
        if ascending:
            for e in range(first, last):
                new_columns[count], new_values[count] = columns[e], values[e]
                count += 1
        else:
            order = np.argsort(columns[first:last], kind="mergesort")  # stable
            begin = count
            for place in order:
                e = first + place
                if count > begin and new_columns[count - 1] == columns[e]:
                    new_values[count - 1] += values[e]
                else:
                    new_columns[count], new_values[count] = columns[e], values[e]
                    count += 1
        new_starts[i + 1] = count
    return count

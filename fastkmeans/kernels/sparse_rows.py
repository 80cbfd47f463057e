"""Compressed rows in the one form that the other kernels read: columns ascending, none twice."""

from __future__ import annotations

import numpy as np

from .jit import kernel


@kernel(allocates=True)
def _sorted_order(columns, first, count, order, other):
    """The order in which columns[first : first + count] ascend, equal ones as they are: merge sort.

    order, other (>= count,) int64 scratch; returns the one that holds the result.
    """
    for q in range(count):
        order[q] = q
    width = 1
    while width < count:
        for lo in range(0, count, 2 * width):
            middle, hi = min(lo + width, count), min(lo + 2 * width, count)
            a, b = lo, middle
            for place in range(lo, hi):
                if a < middle and (b >= hi or columns[first + order[a]] <= columns[first + order[b]]):
                    other[place] = order[a]
                    a += 1
                else:
                    other[place] = order[b]
                    b += 1
        order, other = other, order
        width *= 2
    return order


@kernel(allocates=True)
def tidy_rows(starts, columns, values, new_starts, new_columns, new_values):
    """Sort the entries of every row by column, and add those of one column in the order in which they are stored.

    starts (m + 1,) int64, columns, values (entries,) of any dtype IN; new_starts, new_columns, new_values the same OUT.
    Returns how many entries are left.  Sums are rounded in the dtype of the values, entry by entry.
    """
    longest = 0
    for i in range(starts.shape[0] - 1):
        longest = max(longest, starts[i + 1] - starts[i])
    order, other = np.empty(longest, np.int64), np.empty(longest, np.int64)
    count = 0
    new_starts[0] = 0
    for i in range(starts.shape[0] - 1):
        first, size = starts[i], starts[i + 1] - starts[i]
        found = _sorted_order(columns, first, size, order, other)
        begin = count
        for q in range(size):
            e = first + found[q]
            if count > begin and new_columns[count - 1] == columns[e]:
                new_values[count - 1] += values[e]
            else:
                new_columns[count], new_values[count] = columns[e], values[e]
                count += 1
        new_starts[i + 1] = count
    return count

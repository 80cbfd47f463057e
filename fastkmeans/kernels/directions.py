"""Rows divided by their length: what metric="cosine" clusters."""

from __future__ import annotations

import math

import numpy as np

from .jit import kernel

LARGEST = 1.7976931348623157e308


@kernel
def _unit(largest):
    """A power of two that brings a value of this magnitude near one, so that squares neither overflow nor vanish."""
    _, exponent = math.frexp(largest)
    return math.ldexp(1.0, -min(max(exponent, -1021), 1022))


@kernel
def measure_rows(X, lengths):
    """Lengths of rows: X (m, d) any dtype IN; lengths (m, 2) float64 OUT: a power of two, and the length of the row
    multiplied by it, squares added from left to right; 0 for a row of zeros.  Returns whether all values are finite.
    """
    finite = True
    for i in range(X.shape[0]):
        largest = 0.0
        for j in range(X.shape[1]):
            size = abs(np.float64(X[i, j]))
            finite = finite and size <= LARGEST
            largest = max(largest, size)
        scale = _unit(largest)
        total = 0.0
        for j in range(X.shape[1]):
            value = np.float64(X[i, j]) * scale
            total += value * value
        lengths[i, 0], lengths[i, 1] = scale, math.sqrt(total)
    return finite


@kernel
def divide_rows(X, lengths, out):
    """Rows of X (m, d) divided by their lengths (m, 2), each value rounded once to the dtype of out (m, d) OUT."""
    of = out.dtype.type
    for i in range(X.shape[0]):
        scale, length = lengths[i, 0], lengths[i, 1]
        if length == 0.0:
            length = 1.0
        for j in range(np.uint64(X.shape[1])):
            out[i, j] = of(np.float64(X[i, j]) * scale / length)


@kernel
def measure_entries(starts, values, lengths):
    """measure_rows for compressed rows, to the same bits: what is not stored adds nothing."""
    finite = True
    for i in range(starts.shape[0] - 1):
        largest = 0.0
        for e in range(starts[i], starts[i + 1]):
            size = abs(np.float64(values[e]))
            finite = finite and size <= LARGEST
            largest = max(largest, size)
        scale = _unit(largest)
        total = 0.0
        for e in range(starts[i], starts[i + 1]):
            value = np.float64(values[e]) * scale
            total += value * value
        lengths[i, 0], lengths[i, 1] = scale, math.sqrt(total)
    return finite


@kernel
def divide_entries(starts, values, lengths, out):
    """divide_rows for compressed rows: values (entries,) IN, out (entries,) OUT."""
    of = out.dtype.type
    for i in range(starts.shape[0] - 1):
        scale, length = lengths[i, 0], lengths[i, 1]
        if length == 0.0:
            length = 1.0
        for e in range(np.uint64(starts[i]), np.uint64(starts[i + 1])):
            out[e] = of(np.float64(values[e]) * scale / length)

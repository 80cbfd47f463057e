"""Random numbers by counter: Philox4x32-10 (Salmon, Moraes, Dror & Shaw 2011), a function of key, round and row.

A row's number depends on nothing but its own index, so it is the same however the rows are cut into blocks, shared out
to threads, or spread over partitions.
"""

from __future__ import annotations

import numpy as np

from .jit import kernel
from .simd import fetch_add

SAMPLE_BLOCK = 4096  # rows whose choice is listed together, in ascending order


@kernel
def uniform53(row, turn, key0, key1):
    """An integer from 0 to 2**53 - 1: counter (row in two words, turn, 0), key of two 32-bit words; all uint64."""
    low, half = np.uint64(0xFFFFFFFF), np.uint64(32)
    x0, x1, x2, x3 = row & low, row >> half, turn & low, np.uint64(0)
    for _ in range(10):
        p0, p1 = np.uint64(0xD2511F53) * x0, np.uint64(0xCD9E8D57) * x2
        x0, x1, x2, x3 = (p1 >> half) ^ x1 ^ key0, p1 & low, (p0 >> half) ^ x3 ^ key1, p0 & low
        key0, key1 = (key0 + np.uint64(0x9E3779B9)) & low, (key1 + np.uint64(0xBB67AE85)) & low
    return ((x0 << half) | x1) >> np.uint64(11)


@kernel
def sample_lane(nearest_sq, weights, counter, scale0, scale1, factor, turn, key0, key1, rows, counts):
    """List the rows whose number is below their chance, each by itself.

    nearest_sq (n,) float64, weights (n,) int64 or (0,) for ones IN; the chance of a row, times 2**53, is factor times
    its potential; turn, key0, key1: uint64, as uniform53; counter (1,) int64 INOUT;
    rows (n,) int64 OUT: those of each block of SAMPLE_BLOCK, from the block's first place on; counts (blocks,) OUT.
    """
    n = nearest_sq.shape[0]
    weighted = weights.shape[0] > 0
    while True:
        start = fetch_add(counter, SAMPLE_BLOCK)
        if start >= n:
            break
        found = start
        for i in range(start, min(start + SAMPLE_BLOCK, n)):
            mass = np.rint(nearest_sq[i] * scale0 * scale1)
            if mass == 0.0:
                continue
            if weighted:
                mass *= np.float64(weights[i])
            if np.float64(uniform53(np.uint64(i), turn, key0, key1)) < mass * factor:
                rows[found] = i
                found += 1
        counts[start // SAMPLE_BLOCK] = found - start

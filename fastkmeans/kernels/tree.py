"""Ways down a tree of bisections: at every split a row goes to the nearer of two centers, by the canonical value.

No fast kernel prepares the decision: a row meets two centers per level, which costs less than packing it.
"""

from __future__ import annotations

import numpy as np

from .jit import kernel
from .simd import fetch_add

BLOCK = 256  # rows that a lane takes at a time


@kernel
def descend_lane(X, counter, centers, children, labels):
    """Label every row by the leaf that it comes to.

    X (n, d) any dtype, centers (m, 2, d) float64, children (m, 2) int32: the next split, or ~label, IN; counter (1,)
    int64 INOUT; labels (n,) int32 OUT.  Split 0 is the root; the first child takes ties.
    """
    n, d = X.shape
    while True:
        start = fetch_add(counter, BLOCK)
        if start >= n:
            break
        for i in range(np.uint64(start), np.uint64(min(start + BLOCK, n))):
            split = np.int64(0)
            while split >= 0:
                at = np.uint64(split)
                first, second = 0.0, 0.0
                for j in range(np.uint64(d)):
                    x = np.float64(X[i, j])
                    s, t = x - centers[at, 0, j], x - centers[at, 1, j]
                    first += s * s
                    second += t * t
                split = np.int64(children[at, 1] if second < first else children[at, 0])
            labels[i] = ~split

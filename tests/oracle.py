"""The one reference: k-means from scratch (assign, average, repeat), slowly, in Python integers.

Every fast path of the library is compared with this file to the bit, so it is written to be read aloud and shares no
code with the package. Rows meet floating-point arithmetic in one place, the canonical squared distance, which is an
explicit loop over features. Whatever is added up over rows is first rounded to a grid (a whole number times a power of
two) and then added as a Python integer, which never rounds; a mean is the exact quotient of two sums, rounded once.

Words used throughout: ``X`` (n, d) rows, ``C`` (k, d) centers, ``W`` (n,) Python integers, the weights in units of
``2**unit``.
"""

from __future__ import annotations

import bisect
import itertools
import math
from fractions import Fraction
from typing import NamedTuple

import numpy as np


# ---------------------------------------------------------------------------------------------------- labels
def canonical(X, C):
    """Squared distance of every row to every center, (n, k): features left to right, each step rounded once."""
    X, C = np.asarray(X, dtype=np.float64), np.asarray(C, dtype=np.float64)
    s = np.zeros((len(X), len(C)))
    for j in range(X.shape[1]):
        t = X[:, j, None] - C[None, :, j]
        s = s + t * t
    return s


def assign(X, C):
    """Index of the nearest center of every row; the lowest index on an exact tie."""
    return canonical(X, C).argmin(axis=1)


def own_distances(X, C, labels):
    """Canonical squared distance of every row to the center of its label."""
    return canonical(X, C)[np.arange(len(X)), labels]


# ----------------------------------------------------------------------------------- whole numbers and rounding
def exponent(v):
    """The smallest exponent with ``|v| < 2**exponent`` of a normal float64; subnormals and zero count as -1021."""
    v = np.asarray(v, dtype=np.float64)
    return np.where(v == 0, -1021, np.maximum(np.frexp(v)[1], -1021)).astype(int)


def on_grid(v, g):
    """``v / 2**g`` to the nearest integer, halves to even, as Python integers.

    Scaling by a power of two is exact but where it underflows, and what underflows is rounded to zero anyway.
    """
    return np.vectorize(int, otypes=[object])(np.rint(np.ldexp(np.asarray(v, dtype=np.float64), -np.asarray(g))))


def nearest(numerator, denominator):
    """The integer nearest to a non-negative fraction, halves to even."""
    quotient, rest = divmod(numerator, denominator)
    return quotient + (2 * rest > denominator or (2 * rest == denominator and quotient % 2 == 1))


def rounded(numerator, denominator, dtype=np.float64):
    """``numerator / denominator`` rounded once, half to even, to float32 or float64 (infinite beyond the largest)."""
    bits, lowest = (24, -149) if np.dtype(dtype) == np.float32 else (53, -1074)
    size = abs(numerator)
    e = size.bit_length() - denominator.bit_length()  # the quotient is below 2**(e + 1), and below 2**e unless ...
    if size * 2 ** max(-e, 0) >= denominator * 2 ** max(e, 0):
        e += 1
    ulp = max(e - bits, lowest)
    m = nearest(size * 2 ** max(-ulp, 0), denominator * 2 ** max(ulp, 0))
    try:
        value = math.ldexp(m, ulp)
    except OverflowError:
        value = math.inf
    with np.errstate(over="ignore"):
        return np.dtype(dtype).type(-value if numerator < 0 else value)


def scaled(integer, power, denominator=1, dtype=np.float64):
    """``integer * 2**power / denominator`` rounded once."""
    return rounded(integer * 2 ** max(power, 0), denominator * 2 ** max(-power, 0), dtype)


# --------------------------------------------------------------------------------------------------- statistics
class Weights(NamedTuple):
    values: np.ndarray  # (n,) Python integers
    unit: int  # a weight is its integer times 2**unit


def weight_grid(weights, n_samples):
    """Weights as integers times a power of two: themselves when all are whole, about 61 bits in total when not."""
    if weights is None:
        return Weights(np.array([1] * n_samples, dtype=object), 0)
    weights = [float(w) for w in weights]
    if all(w.is_integer() for w in weights) and sum(int(w) for w in weights) < 2**62:
        return Weights(np.array([int(w) for w in weights], dtype=object), 0)
    largest = int(exponent(max(weights)))
    total = sum(on_grid(weights, largest - 62))
    unit = total.bit_length() + largest - 62 - 61
    return Weights(on_grid(weights, unit), unit)


class Grid(NamedTuple):
    Q: np.ndarray  # (n, d) Python integers
    g: list  # a value of feature j is its integer times 2**g[j]
    digits: int


def feature_grid(X, W):
    """Every feature as integers times a power of two of its own, fine enough for a typical value beside the largest."""
    X, present = np.asarray(X, dtype=np.float64), np.array([w > 0 for w in W])
    tops, gaps = [], []
    for column in X[present].T:
        top = int(exponent(np.abs(column).max()))
        w, e = W[present][column != 0], exponent(column[column != 0])
        typical = sum(int(a) * int(b) for a, b in zip(w, e, strict=True)) // sum(w) if len(w) else top
        tops.append(top)
        gaps.append(top - typical)
    digits = 2 if max(gaps) <= 10 else 3 if max(gaps) <= 42 else 4
    g = [max(top - (32 * digits - 2), -1074) for top in tops]
    Q = np.full(X.shape, 0, dtype=object)
    Q[present] = on_grid(X[present], g)  # absent rows may lie outside the grid
    return Grid(Q, g, digits)


def average(grid, W, dtype):
    """The weighted mean of rows, (d,): exact integer sums, their quotient rounded once."""
    sums = (W[:, None] * grid.Q).sum(axis=0)
    return np.array([scaled(s, g, sum(W), dtype) for s, g in zip(sums, grid.g, strict=True)], dtype=dtype)


def centers(grid, W, labels, old):
    """The mean of each cluster in the dtype of ``old``, and which clusters have no weight and keep the old one."""
    new, empty = old.copy(), []
    for c in range(len(old)):
        mine = labels == c
        if sum(W[mine]) > 0:
            new[c] = average(Grid(grid.Q[mine], grid.g, grid.digits), W[mine], old.dtype)
        else:
            empty.append(c)
    return new, empty


def exact_row_sum(v, W):
    """Weighted sum of non-negative values as (integer, power): each is rounded to a grid 94 bits below the largest."""
    present = np.array([w > 0 for w in W])
    g = max(int(exponent(v[present].max())) - 94, -1074)
    return sum(W[present] * on_grid(v[present], g)), g


def row_sum(v, W, unit=0):
    """The same as a float64, rounded once."""
    total, g = exact_row_sum(v, W)
    return float(scaled(total, g + unit))


def exact_inertia(X, C, labels, weights=None):
    """Weighted sum of squared distances to the center of each row's label, as a fraction."""
    W, unit = weight_grid(weights, len(X))
    total, g = exact_row_sum(own_distances(X, C, labels), W)
    return Fraction(total) * Fraction(2) ** (g + unit)


def inertia(X, C, labels, weights=None):
    """The same as a float64, rounded once."""
    exact = exact_inertia(X, C, labels, weights)
    return float(rounded(exact.numerator, exact.denominator))


def tolerance(X, weights, tol, grid=None):
    """``tol`` times the mean weighted variance of the features."""
    X = np.asarray(X, dtype=np.float64)
    W, unit = weight_grid(weights, len(X))
    mean = average(grid or feature_grid(X, W), W, np.float64)
    scatter = row_sum(canonical(X, mean[None])[:, 0], W, unit)
    return tol * (scatter / float(scaled(sum(W), unit)) / X.shape[1])


# --------------------------------------------------------------------------------------------------- the algorithm
class Iteration(NamedTuple):
    labels: np.ndarray  # nearest of the centers before the update
    centers: np.ndarray  # after the update
    center_shift: float
    n_changed: int | None  # None in the first pass
    n_refilled: int


class Result(NamedTuple):
    labels: np.ndarray
    centers: np.ndarray
    inertia: float
    n_iter: int
    converged: bool
    history: list
    best_restart: int = 0


def center_dtype(dtype):
    """Centers are float64 for float64, longdouble and 32/64-bit integers, float32 otherwise."""
    dtype = np.dtype(dtype)
    wide = dtype.itemsize >= {"f": 8, "i": 4, "u": 4}.get(dtype.kind, 99)
    return np.dtype(np.float64 if wide else np.float32)


def refill(X, W, labels, old, new, empty):
    """Give each empty cluster the row farthest from its own old center, equal rows once; returns how many got one."""
    v = own_distances(X, old, labels)
    order = sorted((i for i in range(len(X)) if W[i] > 0 and v[i] > 0), key=lambda i: (-v[i], i))
    taken = []
    for i in order:
        if len(taken) == len(empty):
            break
        if not any((X[i] == X[other]).all() for other in taken):
            new[empty[len(taken)]] = X[i]
            taken.append(i)
    return len(taken)


def lloyd(X, start, weights=None, max_iter=300, tol=1e-4, dtype=None):
    """Assign, average, repeat. ``dtype`` of the centers: that of ``start`` unless given."""
    X = np.asarray(X, dtype=np.float64)
    C = np.array(start, dtype=dtype or np.asarray(start).dtype)
    W = weight_grid(weights, len(X)).values
    present = np.array([w > 0 for w in W])
    grid = feature_grid(X, W)
    enough = tolerance(X, weights, tol, grid)
    history, labels, strict, converged = [], None, False, False
    while len(history) < max_iter:
        before, labels = labels, assign(X, C)
        n_changed = None if before is None else int((before != labels)[present].sum())
        if n_changed == 0:
            strict = converged = True
            history.append(Iteration(labels, C, 0.0, 0, 0))
            break
        new, empty = centers(grid, W, labels, C)
        n_refilled = refill(X, W, labels, C, new, empty)
        shift = 0.0
        for c in range(len(C)):
            shift = shift + float(canonical(new[c : c + 1], C[c : c + 1])[0, 0])
        history.append(Iteration(labels, new, shift, n_changed, n_refilled))
        C = new
        if shift <= enough:
            converged = True
            break
    if not strict:
        labels = assign(X, C)
    return Result(labels, C, inertia(X, C, labels, weights), len(history), converged, history)


def stopped(result, X, max_iter, weights=None):
    """What the same run would have returned with a lower ``max_iter``."""
    if max_iter >= result.n_iter:
        return result
    history = result.history[:max_iter]
    C = history[-1].centers
    labels = assign(X, C)
    return Result(labels, C, inertia(X, C, labels, weights), max_iter, False, history)


# --------------------------------------------------------------------------------------------------------- seeding
def generator(seed):
    """Random numbers of a seed; a generator goes on where it is."""
    return seed if isinstance(seed, np.random.Generator) else np.random.Generator(np.random.PCG64(seed))


def uniform(total, pair):
    """An integer from 0 to total - 1 out of two 64-bit words."""
    return (total * (int(pair[0]) * 2**64 + int(pair[1]))) >> 128


def pick(masses, r):
    """The smallest index whose prefix sum of masses exceeds r."""
    prefix = 0
    for i, mass in enumerate(masses):
        prefix += mass
        if prefix > r:
            return i
    raise ValueError("r is not below the sum of the masses")


def kmeans_plusplus(X, weights, k, seed, n_trials=None):
    """Row indices of greedy k-means++: of 2 + floor(ln k) rows drawn by squared distance the best stays.

    A row is drawn by rejection: proposed by the potentials of an earlier step, and accepted with the share of its own
    that is left.  After 16 refusals the potentials of the present step take their place.
    """
    X = np.asarray(X, dtype=np.float64)
    W = weight_grid(weights, len(X)).values
    present = np.array([w > 0 for w in W])
    rng, n_trials = generator(seed), n_trials or 2 + int(math.log(k))

    def words():
        return rng.integers(0, 2**64, size=2, dtype=np.uint64)

    def potentials(distances, g):
        """Of one unit of each row's weight."""
        P = np.full(len(W), 0, dtype=object)
        P[present] = on_grid(distances[present], g)
        return P

    chosen = [pick(W, uniform(sum(W), words()))]
    D = canonical(X, X[chosen])[:, 0]
    g, refused = 0, 16
    while len(chosen) < k:
        candidates = []
        if refused < 16:
            now = potentials(D, g)
        while len(candidates) < n_trials:
            if refused == 16:
                if D[present].max() == 0:
                    break
                g, refused = max(int(exponent(D[present].max())) - 50, -1074), 0
                frozen = now = potentials(D, g)
                prefix = [0, *itertools.accumulate(W * frozen)]
            r = uniform(prefix[-1], words())
            i = bisect.bisect_right(prefix, r) - 1
            if (r - prefix[i]) % frozen[i] < now[i]:
                candidates.append(i)
            else:
                refused += 1
        if not candidates:  # every row lies on a chosen one
            chosen.append(pick(W, uniform(sum(W), words())))
            continue
        shorter = [np.minimum(D, canonical(X, X[i : i + 1])[:, 0]) for i in candidates]
        sums = [sum(W * potentials(s, g)) for s in shorter]
        best = sums.index(min(sums))
        chosen.append(candidates[best])
        D = shorter[best]
    return chosen


def philox(counter, key):
    """Four 32-bit words of Philox4x32 with ten rounds, from four words of counter and two of key."""
    x, k = list(counter), list(key)
    for _ in range(10):
        p, q = 0xD2511F53 * x[0], 0xCD9E8D57 * x[2]
        x = [(q >> 32) ^ x[1] ^ k[0], q % 2**32, (p >> 32) ^ x[3] ^ k[1], p % 2**32]
        k = [(k[0] + 0x9E3779B9) % 2**32, (k[1] + 0xBB67AE85) % 2**32]
    return x


def kmeans_parallel(X, weights, k, seed):
    """Row indices of k-means||: five rounds in which every row joins by itself, then k-means++ among those that did."""
    X = np.asarray(X, dtype=np.float64)
    W = weight_grid(weights, len(X)).values
    present = np.array([w > 0 for w in W])
    rng = generator(seed)
    key = np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, 0)).generate_state(2, np.uint32).tolist()
    joined = [pick(W, uniform(sum(W), rng.integers(0, 2**64, size=2, dtype=np.uint64)))]
    D = canonical(X, X[joined])[:, 0]
    turn = 0
    while D[present].max() > 0 and (turn < 5 or len(joined) < k):
        g = max(int(exponent(D[present].max())) - 50, -1074)
        P = np.full(len(W), 0, dtype=object)
        P[present] = on_grid(D[present], g)
        factor = math.ldexp(2.0 * k / sum(W * P), 53)
        fresh = []
        for i in np.flatnonzero(P):
            high, low, *_ = philox((int(i) % 2**32, int(i) >> 32, turn, 0), key)
            if float((high << 32 | low) >> 11) < float(P[i]) * float(W[i]) * factor:
                fresh.append(int(i))
        if fresh:
            D = np.minimum(D, canonical(X, X[fresh]).min(axis=1))
            joined += fresh
        turn += 1
    if len(joined) > k:
        nearest = assign(X, X[joined])
        masses = [float(sum(W[nearest == c])) for c in range(len(joined))]
        joined = [joined[i] for i in kmeans_plusplus(X[joined], masses, k, rng)]
    while len(joined) < k:
        joined.append(pick(W, uniform(sum(W), rng.integers(0, 2**64, size=2, dtype=np.uint64))))
    return joined


def random_rows(n_samples, weights, k, seed):
    """k row indices, each drawn by weight among those left; where none is left, the draws repeat from the first."""
    W = weight_grid(weights, n_samples).values
    rng, chosen, left = generator(seed), [], W.copy()
    while len(chosen) < k:
        if sum(left) == 0:
            chosen.append(chosen[len(chosen) - sum(w > 0 for w in W)])
            continue
        i = pick(left, uniform(sum(left), rng.integers(0, 2**64, size=2, dtype=np.uint64)))
        chosen.append(i)
        left[i] = 0
    return chosen


def kmeans(X, k, init="k-means++", n_init=1, seed=0, weights=None, max_iter=300, tol=1e-4, dtype=None):
    """The best of ``n_init`` restarts by exact inertia, the first on a tie; ``init`` a name or an array of centers."""
    dtype = dtype or center_dtype(np.asarray(X).dtype)
    X = np.asarray(X, dtype=np.float64)
    if not isinstance(seed, np.random.SeedSequence):
        seed = np.random.SeedSequence(seed)
    best = lowest = None
    for restart, own_seed in enumerate(seed.spawn(n_init)):
        if isinstance(init, str):
            if init == "random":
                rows = random_rows(len(X), weights, k, own_seed)
            else:
                rows = (kmeans_plusplus if init == "k-means++" else kmeans_parallel)(X, weights, k, own_seed)
            start = X[rows]
        else:
            start = init
        result = lloyd(X, start, weights, max_iter, tol, dtype)._replace(best_restart=restart)
        exact = exact_inertia(X, result.centers, result.labels, weights)
        if best is None or exact < lowest:
            best, lowest = result, exact
    return best

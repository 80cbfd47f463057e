"""Centers, and rows, as the fast kernels want them: packed into float32, with bounds of what that loses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import threads
from .data import Data, field_exponent
from .kernels import canonical, features, integer, lloyd, plane, simd

PLAIN_WORK = 1e6  # multiply-adds of a pass below which the plain loops serve: vector kernels take seconds to compile
PACKED_EXPONENT = 50  # packed values stay below 2**51: their squares neither overflow nor vanish
PLAIN_SCALE = 70  # exponent of the largest scale that may be left out: below 2**-20 squares come near to vanish
LEAST, LEAST_ROOT = 2.0**-120, 2.0**-75  # of such bounds: subnormal float32 take a CPU a hundred times as long
NO_TILES = np.empty(0, np.float32)


class Frame:
    """How rows and centers are packed for the fast kernels, and the bounds of what that loses.

    Every packed value is ``x * scale - shift``.  The scale is a power of two that keeps the largest value below
    ``2**(PACKED_EXPONENT + 1)``, so that squares neither overflow nor, but for values 2**-80 times smaller, vanish.
    Where `plain` is asked for, and the largest value is neither far above nor far below 1, nothing is scaled.
    """

    def __init__(self, data: Data, centers: NDArray[Any], single: bool, plain: bool = False) -> None:
        d = data.d
        extent = max(float(data.largest.max()), float(centers.max()), -float(centers.min())) + float(
            np.abs(data.shift).max()
        )
        limit = 126 if single else 1000
        exponent = max(-limit, min(limit, PACKED_EXPONENT - field_exponent(extent))) if extent > 0.0 else 0
        if plain and 0 <= exponent <= PLAIN_SCALE:
            exponent = 0
        self.dtype = np.dtype(np.float32 if single else np.float64)
        self.scale = math.ldexp(1.0, exponent)
        self.shift = (data.shift * self.scale).astype(self.dtype)
        gamma = (min(d, 64) + -(-d // 64) + 6) * 2.0**-24 * 1.001
        canonical_roundings = (d + 3) * 2.0**-54
        tiny = 2.0**-149
        # what underflow in the packed products, and in the canonical squares (2**-1074 each), can hide
        with np.errstate(over="ignore"):
            lost = float(np.float64(d) * 2.0 ** (2 * exponent - 1074)) if 2 * exponent - 1074 < 1000 else math.inf
        floor = max((d + 8) * tiny, LEAST) + lost
        per_norm = max(2.0 * tiny * math.sqrt(d), LEAST_ROOT)
        self.error = np.array([gamma, canonical_roundings, floor, per_norm, d * 2.0**-120, (d / 4 + 72) * 2.0**-24])
        self.square_scale = np.array([self.scale, self.scale])

    def cutoff(self, largest: float) -> NDArray[np.float32]:
        """The cheap form of the certificate, with the largest |c'| for every norm: see lloyd.certify."""
        gamma, roundings, floor, per_norm, norm_floor, _ = self.error
        values = (
            2.05 * (gamma * largest + per_norm),
            2.05 * 2.0 * roundings,
            2.05 * (0.5 * gamma * largest**2 + 2.0 * roundings * largest**2 + floor + per_norm * largest),
            norm_floor,
        )
        with np.errstate(over="ignore"):
            return np.array(values).astype(np.float32)


class Packed:
    """Centers in the forms the kernels want; order: in which, where bounds are to be left, or None."""

    def __init__(self, data: Data, centers: NDArray[Any], single: bool, order: NDArray[np.int32] | None = None) -> None:
        k, d = centers.shape
        self.orientation = "plain" if is_small(data, k) else lloyd.orientation(d, k, data.filters, order is not None)
        if self.orientation == "plane":
            middle, across = np.empty(d), np.empty(d)
            pair = centers.astype(np.float64, copy=False)
            self.plane = middle, across, plane.plane_between(pair, data.largest, middle, across), pair
            return
        self.grouped = canonical.group_centers(centers)
        if self.orientation == "plain":
            return
        self.width = simd.lane_width()
        self.frame = Frame(data, centers, single)
        n_groups = -(-k // self.width)
        by_points = self.orientation == "points"
        self.groups = np.zeros(n_groups * d * self.width, np.float32)
        self.tiles = np.zeros(-(-k // 8) * d * 8, np.float32) if by_points else NO_TILES
        self.halves = np.empty(-(-(k + features.SOME) // 16) * 16, np.float32)  # enough for all forms
        self.norms = np.empty(k)
        flags = duplicates(centers)
        self.in_order = order is not None and self.orientation == "integers" and not flags.any()
        if self.in_order:  # equal centers have bounds too, but no values
            centers = centers[order]
        self.largest = lloyd.pack_centers(
            centers, flags, self.frame.scale, self.frame.shift.astype(np.float64), self.width,
            self.groups, self.tiles, self.halves, self.norms,
        )  # fmt: skip
        if self.orientation == "features":
            padded = d // self.width * self.width + self.width
            self.minus = threads.per_lane(1, padded, np.float32)[0, :padded]
            self.minus[:d] = -self.frame.shift
            self.each = simd.lanes(features.at_a_time(k))
            count = -(-k // len(self.each)) * len(self.each)
            self.rows = threads.per_lane(1, count * padded, np.float32)[0, : count * padded].reshape(count, padded)
            by_center = self.groups.reshape(n_groups, d, self.width).transpose(0, 2, 1)
            self.rows[:k, :d] = by_center.reshape(-1, d)[:k]
        if self.orientation == "integers":
            self.rows = np.zeros(k * (-(-d // 16) * 16), np.float32)
            self.integers = np.zeros(n_groups * (-(-d // 2)) * self.width * 2, np.int16)
            self.unit, self.residual = integer.quantize_centers(
                self.groups, self.halves, self.largest, k, d, self.width, self.rows, self.integers
            )


def is_small(data: Data, k: int) -> bool:
    """Whether plain loops serve a pass best (to the same bits)."""
    return simd.is_native() and float(data.n) * data.density * (k + 16) < PLAIN_WORK


def duplicates(centers: NDArray[Any]) -> NDArray[np.uint8]:
    """Flags of the centers that equal one of lower index."""
    flags = np.zeros(len(centers), np.uint8)
    hashes = np.empty(len(centers), np.uint64)
    lloyd.hash_rows(centers, hashes)
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    if not (ordered[1:] == ordered[:-1]).any():
        return flags
    first: list[int] = []
    for at, c in enumerate(order):
        if at and ordered[at] != ordered[at - 1]:
            first = []
        if any(np.array_equal(centers[c], centers[other]) for other in first):
            flags[c] = 1
        else:
            first.append(int(c))
    return flags

"""Codes of the rows, for visits of k-means++: see kernels/codes.py."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from . import threads
from .data import Data, new_counter
from .kernels import codes, integer, mapped, micro, simd

if TYPE_CHECKING:
    from .packed import Frame
    from .visits import Map

LEAST_STEP = 1e-30  # of candidates


class Codes:
    """Rows rounded to integers: of 8 bits, or of 16 where their map is taken for them.

    Parameters
    ----------
    width : int
        Lane width.
    features : int
        Of what is encoded.
    map_ : Map or None
    """

    def __init__(self, width: int, features: int, map_: Map | None) -> None:
        self.width, self.features, self.map = width, features, map_
        self.kind = np.empty(0, np.int8 if map_ is None else np.int16)
        per = 4 // self.kind.itemsize
        self.n_words = -(-features // per)
        self.top = 2.0 ** (8 * self.kind.itemsize - 1) - 1.0
        self.limit = float(integer.row_limit(features, codes.LARGEST))
        self.rows: dict[int, tuple[NDArray[Any], ...]] = {}

    def encode(self, data: Data, lo: int, rows: NDArray[Any], frame: Frame) -> None:
        """Take the rows from number `lo` on."""
        n = len(rows)
        n_lanes = data.lanes(8.0 * n * data.d, n)
        scale, shift = frame.dtype.type(frame.scale), frame.shift
        if self.map is not None:
            n_lanes = data.lanes(8.0 * n * data.d * mapped.DIMENSIONS, n)
            rows = self.map.of(rows, np.empty((n, mapped.DIMENSIONS), np.float32), n_lanes)
            scale, shift = np.float32(1.0), np.zeros(mapped.DIMENSIONS, np.float32)
        padded = -(-n // micro.ROWS) * micro.ROWS
        words, origins = np.zeros(padded * self.n_words, np.int32), np.zeros(padded, np.int32)
        steps = np.empty(padded // micro.ROWS, np.float32)
        found = (words, steps, *(np.zeros(padded, np.float32) for _ in range(3)), origins)
        shared = (
            simd.lanes(self.width), self.kind, rows, new_counter(), scale, shift, self._error(frame),
            np.float32(self.top), np.float32(self.limit), *found,
        )  # fmt: skip
        threads.share(n_lanes, codes.encode_lane, shared)
        self.rows[lo] = found

    def _error(self, frame: Frame) -> NDArray[np.float64]:
        """Bounds of what is encoded, as in lloyd.margin."""
        if self.map is None:
            return frame.error
        return np.array([self.map.error[0], 0.0, self.map.error[2], 2.0**-75, self.map.error[2], 2.0**-17])

    def candidates(self, given: NDArray[np.float64], frame: Frame) -> tuple[Any, ...]:
        """Codes of candidates, as kernels/coded_visit.py wants them: from code_scale to code_largest."""
        M, w = len(given), self.width
        if self.map is None:
            packed = (given * frame.scale - frame.shift.astype(np.float64)).astype(np.float32)
            scale, length_error = frame.scale, 0.0
        else:
            packed = self.map.of(given, np.empty((M, mapped.DIMENSIONS), np.float32))
            scale, length_error = self.map.scale, float(self.map.error[1])
        wide = packed.astype(np.float64)
        squares = (wide * wide).sum(axis=1)
        largest = math.sqrt(float(squares.max())) * (1.0 + 1e-6)
        step = np.float32(max(float(np.abs(packed).max()) / self.top, largest / self.limit, LEAST_STEP))
        integers = np.rint(packed / step)
        rest = wide - integers * np.float64(step)
        residual = math.sqrt(float((rest * rest).sum(axis=1).max())) * (1.0 + 1e-6)
        n_groups, per = -(-M // w), 4 // self.kind.itemsize
        words = np.zeros((n_groups * w, self.n_words * per), np.int16)
        words[:M, : self.features] = integers
        if per == 4:
            words += 128
        held = words.astype(np.uint8 if per == 4 else np.int16).view(np.int32)
        groups = np.ascontiguousarray(held.reshape(n_groups, w, self.n_words).transpose(0, 2, 1)).reshape(-1)
        halves = np.full(n_groups * w, np.inf, np.float32)
        halves[:M] = 0.5 * squares
        return (
            np.array([scale, scale]), self._error(frame), length_error, groups, self.n_words, halves, step, residual,
            largest,
        )  # fmt: skip

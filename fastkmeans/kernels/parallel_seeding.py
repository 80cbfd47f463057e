"""The parallel bodies of seeding: as in parallel.py, one prange over lanes each, in a file of their own to be loaded
only where rows are drawn."""

from __future__ import annotations

from numba import prange

from .jit import kernel
from .lanes import call_lane


@kernel(parallel=True)
def freeze_parallel(n, address, nearest_sq, weights, counter, scale0, scale1, frozen_sq, sums):
    for _ in prange(n):
        call_lane(address, (nearest_sq, weights, counter, scale0, scale1, frozen_sq, sums))


@kernel(parallel=True)
def gains_parallel(n, address, plain, X, weights, counter, nearest_sq, candidates, scale0, scale1, gains):
    for lane in prange(n):
        call_lane(address, (plain, X, weights, counter, nearest_sq, candidates, scale0, scale1, gains[lane]))


@kernel(parallel=True)
def nearer_parallel(n, address, plain, X, counter, center, label, nearest_sq, labels):
    for _ in prange(n):
        call_lane(address, (plain, X, counter, center, label, nearest_sq, labels))


@kernel(parallel=True)
def spacing_parallel(n, address, plain, seeds, counter, grouped, M, square0, square1, table, closest):
    for _ in prange(n):
        call_lane(address, (plain, seeds, counter, grouped, M, square0, square1, table, closest))


@kernel(parallel=True)
def plain_candidates_parallel(
    n, address, X, counter, nearest_sq, labels, offset, table, closest, square0, square1, error, candidates, first_slot,
    entry_rows, entry_slots, entry_values, count,
):  # fmt: skip
    for lane in prange(n):
        call_lane(address, (
            X, counter, nearest_sq, labels, offset, table, closest, square0, square1, error, candidates, first_slot,
            entry_rows[lane], entry_slots[lane], entry_values[lane], count[lane],
        ))  # fmt: skip


@kernel(parallel=True)
def candidates_parallel(
    n, address, width, X, counter, order, starts, reaches, nearest_sq, labels, offset, table, closest, square0, square1,
    error, candidates, first_slot, pack_scale, shift, groups, halves, tiles, largest, ahead, row_bytes, mapped,
    map_scale, map_error, map_groups, map_halves, map_largest, entry_rows, entry_slots, entry_values, count,
):  # fmt: skip
    for lane in prange(n):
        call_lane(address, (
            width, X, counter, order, starts, reaches, nearest_sq, labels, offset, table, closest, square0, square1,
            error, candidates, first_slot, pack_scale, shift, groups, halves, tiles, largest, ahead, row_bytes, mapped,
            map_scale, map_error, map_groups, map_halves, map_largest, entry_rows[lane], entry_slots[lane],
            entry_values[lane], count[lane],
        ))  # fmt: skip


@kernel(parallel=True)
def encode_parallel(
    n, address, width, kind, X, counter, scale, shift, error, top, limit, words, steps, halves, lengths, rests, origins,
):  # fmt: skip
    for _ in prange(n):
        call_lane(address, (
            width, kind, X, counter, scale, shift, error, top, limit, words, steps, halves, lengths, rests, origins,
        ))  # fmt: skip


@kernel(parallel=True)
def coded_candidates_parallel(
    n, address, width, kind, X, counter, words, steps, code_lows, lengths, rests, origins, code_scale, code_error,
    length_error, code_groups, n_words, code_halves, unit, code_residual, code_largest, nearest_sq, offset, plain,
    square0, square1, relative, a, floor, pack_scale, shift, centers, candidates, first_slot, ahead, row_bytes,
    entry_rows, entry_slots, entry_values, count,
):  # fmt: skip
    for lane in prange(n):
        call_lane(address, (
            width, kind, X, counter, words, steps, code_lows, lengths, rests, origins, code_scale, code_error,
            length_error, code_groups, n_words, code_halves, unit, code_residual, code_largest, nearest_sq, offset,
            plain, square0, square1, relative, a, floor, pack_scale, shift, centers, candidates, first_slot, ahead,
            row_bytes, entry_rows[lane], entry_slots[lane], entry_values[lane], count[lane],
        ))  # fmt: skip


@kernel(parallel=True)
def map_parallel(n, address, X, counter, origin, scale, directions, out):
    for _ in prange(n):
        call_lane(address, (X, counter, origin, scale, directions, out))


@kernel(parallel=True)
def fast_gains_parallel(
    n, address, width, X, weights, counter, nearest_sq, labels, center, label, pack_scale, shift, square0, square1,
    relative, a, floor, weight_unit, centers, n_groups, ahead, step, gains,
):  # fmt: skip
    for lane in prange(n):
        call_lane(address, (
            width, X, weights, counter, nearest_sq, labels, center, label, pack_scale, shift, square0, square1,
            relative, a, floor, weight_unit, centers, n_groups, ahead, step, gains[lane],
        ))  # fmt: skip


@kernel(parallel=True)
def panel_gains_parallel(
    n, address, width, exact, settling, X, weights, counter, near, nearest, number, nearest_sq, labels, seeds, table,
    label, pack_scale, shift, square0, square1, relative, a, floor, weight_unit, centers, n_first, n_second, ahead,
    step, sums,
):  # fmt: skip
    for lane in prange(n):
        call_lane(address, (
            width, exact, settling, X, weights, counter, near, nearest, number, nearest_sq, labels, seeds, table, label,
            pack_scale, shift, square0, square1, relative, a, floor, weight_unit, centers, n_first, n_second, ahead,
            step, sums[lane],
        ))  # fmt: skip


@kernel(parallel=True)
def tabulate_parallel(
    n, address, width, X, counter, plain, pack_scale, tiled_shift, centers, n_groups, ahead, step, table,
):  # fmt: skip
    for _ in prange(n):
        call_lane(address, (width, X, counter, plain, pack_scale, tiled_shift, centers, n_groups, ahead, step, table))


@kernel(parallel=True)
def table_gains_parallel(n, address, counter, table, column, weights, weight_unit, near, gains):
    for lane in prange(n):
        call_lane(address, (counter, table, column, weights, weight_unit, near, gains[lane]))


@kernel(parallel=True)
def table_settle_parallel(
    n, address, X, counter, table, columns, seeds, grouped, first_label, square0, square1, relative, a, floor,
    nearest_sq, labels,
):  # fmt: skip
    for _ in prange(n):
        call_lane(address, (
            X, counter, table, columns, seeds, grouped, first_label, square0, square1, relative, a, floor, nearest_sq,
            labels,
        ))  # fmt: skip


@kernel(parallel=True)
def sample_parallel(n, address, nearest_sq, weights, counter, scale0, scale1, factor, turn, key0, key1, rows, counts):
    for _ in prange(n):
        call_lane(address, (nearest_sq, weights, counter, scale0, scale1, factor, turn, key0, key1, rows, counts))


@kernel(parallel=True)
def panel_candidates_parallel(
    n, address, width, X, counter, nearest_sq, offset, square0, square1, relative, a, floor, pack_scale, shift, centers,
    candidates, first_slot, ahead, step, entry_rows, entry_slots, entry_values, count,
):  # fmt: skip
    for lane in prange(n):
        call_lane(address, (
            width, X, counter, nearest_sq, offset, square0, square1, relative, a, floor, pack_scale, shift, centers,
            candidates, first_slot, ahead, step, entry_rows[lane], entry_slots[lane], entry_values[lane], count[lane],
        ))  # fmt: skip

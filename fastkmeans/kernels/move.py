"""Rows that move between the exact sums of clusters: eight features at a time, as digits of the grid (see exact.py)."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic, overload

from . import simd
from .exact import HIGH_BITS, HIGH_MAGIC, MAGIC, MAGIC_BITS


def _move_vectors(b, load, count, padded, d, pc, ps, new, old):
    """Build the loop of `move_row`: features by eights up to `count`, which `load` gives as float64."""
    vtype, itype = simd.vector(simd.F64, 8), simd.vector(simd.I64, 8)
    new, old, d = (b.sext(value, simd.I64) if value.type.width < 64 else value for value in (new, old, d))
    eight, zero = ir.Constant(simd.I64, 8), ir.Constant(simd.I64, 0)
    to = simd.at(b, ps, b.mul(new, b.mul(d, ir.Constant(simd.I64, 2))))
    source = simd.at(b, ps, b.mul(old, b.mul(d, ir.Constant(simd.I64, 2))))
    leaves = b.icmp_signed(">=", old, zero)

    with simd.Loop(b, zero, count, eight, []) as loop:
        first = simd.load(b, simd.at(b, pc, loop.i), vtype)
        then = simd.load(b, simd.at(b, pc, b.add(padded, loop.i)), vtype)
        value = b.fmul(b.fmul(load(loop.i), first), then)
        top = b.fadd(value, simd.const(vtype, HIGH_MAGIC))
        high = b.sub(b.bitcast(top, itype), simd.const(itype, HIGH_BITS))
        rest = b.fsub(value, b.fsub(top, simd.const(vtype, HIGH_MAGIC)))  # exact
        low = b.sub(b.bitcast(b.fadd(rest, simd.const(vtype, MAGIC)), itype), simd.const(itype, MAGIC_BITS))

        def add(start, operation):
            # the low digits first: their padding may reach into the high ones, which are read afterwards
            for offset, digits in ((loop.i, low), (b.add(loop.i, d), high)):
                place = simd.at(b, start, offset)
                simd.store(b, operation(simd.load(b, place, itype), digits), place)

        add(to, b.add)
        with b.if_then(leaves):
            add(source, b.sub)
        loop.next([])


@intrinsic
def _move_padded(typingctx, row, scale, new, old, d, sums):
    """`move_row` for a row (d rounded up to 8,) of float64, zero beyond d; these zeros are added to what follows."""

    def codegen(context, b, signature, args):
        pr, pc, ps = (simd.data(context, b, signature.args[i], args[i]) for i in (0, 1, 5))
        padded = b.and_(b.add(args[4], ir.Constant(simd.I64, 7)), ir.Constant(simd.I64, -8))
        vtype = simd.vector(simd.F64, 8)
        _move_vectors(
            b, lambda j: simd.load(b, simd.at(b, pr, j), vtype), padded, padded, args[4], pc, ps, args[2], args[3]
        )
        return context.get_dummy_value()

    return types.void(row, scale, new, old, types.int64, sums), codegen


@intrinsic
def _move_loaded(typingctx, X, i, scale, new, old, count, sums):
    """`move_row` for the first features, a multiple of 8, of row i of X: floats in C order."""

    def codegen(context, b, signature, args):
        pc, ps = (simd.data(context, b, signature.args[t], args[t]) for t in (2, 6))
        array = context.make_array(signature.args[0])(context, b, args[0])
        d = b.extract_value(array.shape, 1)
        row = simd.at(b, array.data, b.mul(args[1], d))
        element, vtype = context.get_data_type(signature.args[0].dtype), simd.vector(simd.F64, 8)

        def load(j):
            x = simd.load(b, simd.at(b, row, j), simd.vector(element, 8))
            return x if element == simd.F64 else b.fpext(x, vtype)

        padded = b.and_(b.add(d, ir.Constant(simd.I64, 7)), ir.Constant(simd.I64, -8))
        _move_vectors(b, load, args[5], padded, d, pc, ps, args[3], args[4])
        return context.get_dummy_value()

    return types.void(X, types.int64, scale, new, old, types.int64, sums), codegen


def move_row(X, i, scale, new, old, sums, row):
    """Move a row on a grid of two digits, of unit weight, from cluster `old` (or none, -1) to cluster `new`.

    X (n, d) any dtype, scale (2, d rounded up to 8) float64: powers of two to apply one after the other IN; sums flat
    ``[k][2][d]`` int64, with 8 values to spare, INOUT; row (d rounded up to 8,) float64 scratch, zero beyond d.  Eight
    features are moved at a time; returns how many: the rest is left to the caller.
    """
    raise TypeError("for kernels alone")


@overload(move_row, jit_options={"nogil": True, "error_model": "numpy", "_nrt": False})
def _move_row(X, i, scale, new, old, sums, row):
    """Chosen by what the array's type says: floats that lie side by side need no writing down in between."""
    if X.layout == "C" and X.dtype in (types.float32, types.float64):

        def implementation(X, i, scale, new, old, sums, row):
            count = X.shape[1] // 8 * 8
            _move_loaded(X, np.int64(i), scale, new, old, count, sums)
            return count
    else:

        def implementation(X, i, scale, new, old, sums, row):
            d = X.shape[1]
            if d < 32 and d % 8 != 0:  # few features: the vectors would wait for the stores before them
                return 0
            for j in range(np.uint64(d)):
                row[j] = X[i, j]
            _move_padded(row, scale, new, old, d, sums)
            return d

    return implementation

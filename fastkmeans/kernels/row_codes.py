"""Codes of rows for bounded passes: 8 bits a feature of the difference from a center, and how far that is off.

A row that bounds do not settle is looked at through its code first, which takes a quarter of a row of float32, and the
row itself is read only where the code leaves a doubt.  Differences from the own center are several times smaller than
rows are, and so is what rounding takes of them.  The residual is measured on what decoding gives, operation by
operation, so that it bounds the distance between a packed row and its decoded form, whatever center was subtracted:
centers may move and rows change their labels, and a code stays what it is.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from . import simd
from .bounds import upper_bound
from .jit import kernel
from .simd import F32, I32, Loop, int_

TOP = 127.0


@intrinsic
def _encode(typingctx, width, y, y0, anchors, a0, size, codes, c0, measures):
    """Code the packed row at y0 as a difference from the anchor at a0, both of `size` float32 IN.

    codes int8 OUT at c0; measures (2,) float32 OUT: step, and square of the residual, up to rounding.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype, itype, narrow = (simd.vector(kind, w) for kind in (F32, I32, ir.IntType(8)))
        py, pa, pc, pm = (simd.data(context, b, signature.args[i], args[i]) for i in (1, 3, 6, 8))
        py, pa, pc = simd.at(b, py, args[2]), simd.at(b, pa, args[4]), simd.at(b, pc, args[7])
        zero, stride = simd.const(vtype, 0.0), int_(w)
        with Loop(b, int_(0), args[5], stride, [zero]) as features:
            v = simd.load(b, simd.at(b, py, features.i), vtype)
            apart = b.fsub(v, simd.load(b, simd.at(b, pa, features.i), vtype))
            absolute = b.bitcast(b.and_(b.bitcast(apart, itype), simd.const(itype, 0x7FFFFFFF)), vtype)
            features.next([simd.maximum(b, absolute, features.values[0])])
        largest = simd.fold(b, features.results[0], simd.maximum)
        step = simd.maximum(b, b.fdiv(largest, ir.Constant(F32, TOP)), ir.Constant(F32, 2.0**-100))
        inverse, wide = simd.splat(b, b.fdiv(ir.Constant(F32, 1.0), step), w), simd.splat(b, step, w)
        with Loop(b, int_(0), args[5], stride, [zero]) as features:
            v = simd.load(b, simd.at(b, py, features.i), vtype)
            anchor = simd.load(b, simd.at(b, pa, features.i), vtype)
            scaled = b.fmul(b.fsub(v, anchor), inverse)
            rounded = simd.call(b, f"llvm.rint.{simd.suffix(vtype)}", vtype, [scaled])
            simd.store(b, b.trunc(b.fptosi(rounded, itype), narrow), simd.at(b, pc, features.i), 1)
            rest = b.fsub(v, simd.fma(b, rounded, wide, anchor))
            features.next([simd.fma(b, rest, rest, features.values[0])])
        b.store(step, pm)
        b.store(simd.fold(b, features.results[0], lambda b, x, y: b.fadd(x, y)), simd.at(b, pm, 1))
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, y, i8, anchors, i8, i8, codes, i8, measures), codegen


@intrinsic
def _decode(typingctx, width, codes, c0, step, anchors, a0, size, y, y0):
    """Decode what _encode has coded, into y at y0: ``code * step + anchor``, rounded once."""

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype, itype, narrow = (simd.vector(kind, w) for kind in (F32, I32, ir.IntType(8)))
        pc, pa, py = (simd.data(context, b, signature.args[i], args[i]) for i in (1, 4, 7))
        pc, pa, py = simd.at(b, pc, args[2]), simd.at(b, pa, args[5]), simd.at(b, py, args[8])
        wide = simd.splat(b, args[3], w)
        with Loop(b, int_(0), args[6], int_(w), []) as features:
            code = b.sext(simd.load(b, simd.at(b, pc, features.i), narrow, 1), itype)
            anchor = simd.load(b, simd.at(b, pa, features.i), vtype)
            simd.store(b, simd.fma(b, b.sitofp(code, vtype), wide, anchor), simd.at(b, py, features.i))
            features.next([])
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, codes, i8, types.float32, anchors, i8, i8, y, i8), codegen


@kernel(allocates=True)
def encode_rows(
    width, y, lo, hi, size, rows, first, labels, anchors, differences, codes, steps, residuals, anchored
):  # fmt: skip
    """Code the packed rows lo..hi of y, where they have no code yet, or one of another center than their own.

    y float32 ``[row][size]``: the rows of indices rows[first..], int32; labels (n,) int32; anchors float32
    ``[center][size]``; differences: of bounds.difference_error IN; codes int8 ``[n][size]``, steps, residuals (n,)
    float32: the latter rounded up, anchored (n,) int32: the center whose anchor was subtracted, or -1 INOUT.
    """
    measures = np.empty(2, np.float32)
    for s in range(lo, hi):
        i = np.int64(rows[first + s])
        if anchored[i] == labels[i]:
            continue
        anchored[i] = labels[i]
        _encode(width, y, s * size, anchors, np.int64(labels[i]) * size, size, codes, i * size, measures)
        steps[i] = measures[0]
        residuals[i] = upper_bound(measures[1], np.float32(0.0), differences) * np.float32(1.0 + 1e-5)


@kernel
def decode_rows(width, rows, first, count, anchors, codes, steps, anchored, size, y):
    """As blocks.pack_rows, from codes: those that encode_rows left."""
    for s in range(count):
        i = np.int64(rows[first + s])
        _decode(width, codes, i * size, steps[i], anchors, np.int64(anchored[i]) * size, size, y, s * size)
    for place in range(count * size, (count + 3) // 4 * 4 * size):
        y[place] = np.float32(0.0)

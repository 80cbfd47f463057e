"""The scan of float32 values by their bits: what exact.exponents_single_lane does for most of the features."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import config, types
from numba.extending import intrinsic

from . import simd
from .simd import I32, Loop, int_

ROWS = 4  # rows that are folded at a time
LANES = 1 << 40 if config.DISABLE_JIT else 16  # features that are: without the JIT none
LOWEST = 0x7FFFFF  # largest bits of a subnormal


@intrinsic
def fold_bits(typingctx, bits, i, whole, top, present, fields, ahead):
    """Fold the first `whole` features (a multiple of LANES) of ROWS rows from i on; returns whether one is subnormal.

    bits (n, d) uint32 in C order IN; top, present, fields (d,) uint32: largest magnitude, how many are not zero, and
    the sum of their exponent fields INOUT; ahead: so many values behind each line that is read, one is fetched.
    """

    def codegen(context, b, signature, args):
        vtype = simd.vector(I32, 16)
        t = signature.args
        pb, pt, pp, pf = (simd.data(context, b, t[e], args[e]) for e in (0, 3, 4, 5))
        d = b.extract_value(context.make_array(t[0])(context, b, args[0]).shape, 1)
        first = simd.at(b, pb, b.mul(args[1], d))
        rows = [simd.at(b, first, b.mul(d, int_(r))) for r in range(ROWS)]
        sign, one = simd.const(vtype, 0x7FFFFFFF), simd.const(vtype, 1)
        nothing, shift = simd.const(vtype, 0), simd.const(vtype, 23)

        def larger(x: Any, y: Any) -> Any:
            return b.select(b.icmp_unsigned(">", x, y), x, y)

        with Loop(b, int_(0), args[2], int_(16), [simd.const(vtype, 0xFFFFFFFF)]) as features:
            for row in rows:
                simd.prefetch(b, b.ptrtoint(simd.at(b, simd.at(b, row, features.i), args[6]), simd.I64))
            at_top, at_present, at_fields = (simd.at(b, pointer, features.i) for pointer in (pt, pp, pf))
            largest, count = simd.load(b, at_top, vtype), simd.load(b, at_present, vtype)
            total, least = simd.load(b, at_fields, vtype), features.values[0]
            for row in rows:
                a = b.and_(simd.load(b, simd.at(b, row, features.i), vtype), sign)
                largest = larger(a, largest)
                total = b.add(total, b.lshr(a, shift))
                count = b.add(count, b.select(b.icmp_unsigned("!=", a, nothing), one, nothing))
                below = b.sub(a, one)  # of zero: the largest of all
                least = b.select(b.icmp_unsigned("<", below, least), below, least)
            for value, pointer in ((largest, at_top), (count, at_present), (total, at_fields)):
                simd.store(b, value, pointer)
            features.next([least])
        low = b.icmp_unsigned("<", features.results[0], simd.const(vtype, LOWEST))
        return b.icmp_unsigned("!=", b.bitcast(low, ir.IntType(16)), ir.Constant(ir.IntType(16), 0))

    i8 = types.int64
    return types.boolean(bits, i8, i8, top, present, fields, i8), codegen

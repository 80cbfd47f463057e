"""The micro-kernel with lanes = points: a panel of PANEL vectors of points against all centers (see micro.py)."""

from __future__ import annotations

import functools
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from . import simd
from .micro import CENTERS, PANEL, update
from .simd import F32, I32, I64, Loop, int_

UNROLLED = (2, 3)  # features for which the sweep of many centers is written out: a loop costs as much as it does


@intrinsic
def assign_panel(typingctx, width, p, p0, c, h, d, n_tiles, v1, v2, label, o0, ahead, step):
    """Best, second best and index of the best for the PANEL * w points of one panel, into v1, v2, label at o0.

    p: panels, ``[d][PANEL * w]`` at p0.  c: center tiles ``[n_tiles][d][CENTERS]``; h: halved squared norms.
    ahead, step: address of what a later panel is packed from, and its bytes per feature, to fetch.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        panel = PANEL if w == 16 else 1 if w == 8 else PANEL
        vtype, itype = simd.vector(F32, w), simd.vector(I32, w)
        types_ = signature.args
        pp, pc, ph = (simd.data(context, b, types_[i], args[i]) for i in (1, 3, 4))
        p1, p2, pl = (simd.data(context, b, types_[i], args[i]) for i in (7, 8, 9))
        d_, n = args[5], args[6]
        with Loop(b, int_(0), d_, int_(1), []) as lines:
            address = b.add(args[11], b.mul(lines.i, args[12]))
            for line in range(PANEL):
                simd.prefetch(b, b.add(address, int_(64 * line)))
            lines.next([])
        low = simd.const(vtype, float("-inf"))
        for v0 in range(0, PANEL, panel):
            points = simd.at(b, pp, b.add(args[2], int_(v0 * w)))
            # the number of the tile's first center is carried as a vector: LLVM would broadcast a scalar for every use
            start = [low] * (2 * panel) + [simd.const(itype, 0)] * (panel + 1)
            with Loop(b, int_(0), n, int_(1), start) as tiles:
                c_tile = simd.at(b, pc, b.mul(tiles.i, b.mul(d_, int_(CENTERS))))
                h_tile = simd.at(b, ph, b.mul(tiles.i, int_(CENTERS)))
                begin = []
                for t in range(CENTERS):
                    begin += [simd.splat(b, b.fsub(ir.Constant(F32, -0.0), b.load(simd.at(b, h_tile, t))), w)] * panel
                with Loop(b, int_(0), d_, int_(1), begin) as features:
                    here = simd.at(b, points, b.mul(features.i, int_(PANEL * w)))
                    vectors = [simd.load(b, simd.at(b, here, v * w), vtype) for v in range(panel)]
                    c_feature = simd.at(b, c_tile, b.mul(features.i, int_(CENTERS)))
                    acc = list(features.values)
                    for t in range(CENTERS):
                        value = simd.splat(b, b.load(simd.at(b, c_feature, t)), w)
                        for v in range(panel):
                            acc[t * panel + v] = simd.fma(b, value, vectors[v], acc[t * panel + v])
                    features.next(acc)
                best, second = list(tiles.values[:panel]), list(tiles.values[panel : 2 * panel])
                index, number = list(tiles.values[2 * panel : -1]), tiles.values[-1]
                for t in range(CENTERS):
                    this = b.add(number, simd.const(itype, t))
                    for v in range(panel):
                        value = features.results[t * panel + v]
                        best[v], second[v], index[v] = update(b, value, this, best[v], second[v], index[v])
                tiles.next([*best, *second, *index, b.add(number, simd.const(itype, CENTERS))])
            for v in range(panel):
                out = b.add(args[10], int_((v0 + v) * w))
                simd.store(b, tiles.results[v], simd.at(b, p1, out))
                simd.store(b, tiles.results[panel + v], simd.at(b, p2, out))
                simd.store(b, tiles.results[2 * panel + v], simd.at(b, pl, out))
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, p, i8, c, h, i8, i8, v1, v2, label, i8, i8, i8), codegen


@intrinsic
def assign_panel_tiles(typingctx, width, p, p0, c, h, d, n_tiles, v1, v2, label, o0, ahead, step):
    """`assign_panel` for many centers: the same values, in fewer steps per center.

    Only the largest value of each tile of CENTERS is kept while centers go by, with the best and second best tile;
    which center of the best tile it was, and the best of the others there, is found at the end by evaluating that tile
    once more, point by point with lanes = centers.
    """

    def codegen(context, b, signature, args):
        w = signature.args[0].count
        vtype, itype = simd.vector(F32, w), simd.vector(I32, w)
        types_ = signature.args
        pp, pc, ph = (simd.data(context, b, types_[i], args[i]) for i in (1, 3, 4))
        p1, p2, pl = (simd.data(context, b, types_[i], args[i]) for i in (7, 8, 9))
        d_, n = args[5], args[6]
        low, minus_zero = simd.const(vtype, float("-inf")), ir.Constant(F32, -0.0)
        together = CENTERS if w == 16 else CENTERS // 2  # as many as leave room for PANEL vectors of each
        with Loop(b, int_(0), d_, int_(1), []) as lines:
            address = b.add(args[11], b.mul(lines.i, args[12]))
            for line in range(PANEL):
                simd.prefetch(b, b.add(address, int_(64 * line)))
            lines.next([])
        points = simd.at(b, pp, args[2])
        tile_size = b.mul(d_, int_(CENTERS))

        def row(start: Any, j: int) -> list[Any]:
            return [simd.load(b, simd.at(b, start, (j * PANEL + v) * w), vtype) for v in range(PANEL)]

        def tops_looped(c_tile: Any, begin: Any) -> list[Any]:
            """The largest values of a tile, feature by feature."""
            top: list[Any] = [None] * PANEL
            for t0 in range(0, CENTERS, together):
                start = [v for t in range(t0, t0 + together) for v in [begin(t)] * PANEL]
                with Loop(b, int_(0), d_, int_(1), start) as features:
                    here = simd.at(b, points, b.mul(features.i, int_(PANEL * w)))
                    vectors = [simd.load(b, simd.at(b, here, v * w), vtype) for v in range(PANEL)]
                    c_feature = simd.at(b, c_tile, b.mul(features.i, int_(CENTERS)))
                    acc = list(features.values)
                    for t in range(together):
                        value = simd.splat(b, b.load(simd.at(b, c_feature, t0 + t)), w)
                        for v in range(PANEL):
                            acc[t * PANEL + v] = simd.fma(b, value, vectors[v], acc[t * PANEL + v])
                    features.next(acc)
                for v in range(PANEL):
                    for value in features.results[v::PANEL]:
                        top[v] = value if top[v] is None else simd.maximum(b, top[v], value)
            return top

        def tops_unrolled(c_tile: Any, begin: Any, few: int, held: list[list[Any]]) -> list[Any]:
            """The same center by center: the first coordinates of the points stay in registers."""
            top: list[Any] = [None] * PANEL
            for t in range(CENTERS):
                acc = [begin(t)] * PANEL
                again = simd.opaque(b, points)
                for j in range(few):
                    value = simd.splat(b, b.load(simd.at(b, c_tile, j * CENTERS + t)), w)
                    vectors = held[j] if j < len(held) else row(again, j)
                    acc = [simd.fma(b, value, x, a) for x, a in zip(vectors, acc, strict=True)]
                top = [a if x is None else simd.maximum(b, x, a) for x, a in zip(top, acc, strict=True)]
            return top

        def sweep(tops: Any) -> None:
            start = [low] * (2 * PANEL) + [simd.const(itype, 0)] * (PANEL + 1)
            with Loop(b, int_(0), n, int_(1), start) as tiles:
                h_tile = simd.at(b, ph, b.mul(tiles.i, int_(CENTERS)))

                def begin(t: int) -> Any:
                    return simd.splat(b, b.fsub(minus_zero, b.load(simd.at(b, h_tile, t))), w)

                top = tops(simd.at(b, pc, b.mul(tiles.i, tile_size)), begin)
                best, second = list(tiles.values[:PANEL]), list(tiles.values[PANEL : 2 * PANEL])
                index, number = list(tiles.values[2 * PANEL : -1]), tiles.values[-1]
                for v in range(PANEL):
                    best[v], second[v], index[v] = update(b, top[v], number, best[v], second[v], index[v])
                tiles.next([*best, *second, *index, b.add(number, simd.const(itype, 1))])
            for v in range(PANEL):
                out = b.add(args[10], int_(v * w))
                simd.store(b, tiles.results[v], simd.at(b, p1, out))
                simd.store(b, tiles.results[PANEL + v], simd.at(b, p2, out))
                simd.store(b, tiles.results[2 * PANEL + v], simd.at(b, pl, out))

        looped, done = b.append_basic_block("looped"), b.append_basic_block("done")
        choice = b.switch(d_, looped)
        for few in UNROLLED:
            block = b.append_basic_block(f"of_{few}")
            choice.add_case(int_(few), block)
            b.position_at_end(block)
            held = [row(points, j) for j in range(min(few, 2))]
            sweep(functools.partial(tops_unrolled, few=few, held=held))
            b.branch(done)
        b.position_at_end(looped)
        sweep(tops_looped)
        b.branch(done)
        b.position_at_end(done)

        eight, numbers = simd.vector(F32, CENTERS), simd.vector(I32, CENTERS)
        lane = ir.Constant(numbers, [ir.Constant(I32, i) for i in range(CENTERS)])
        bits = ir.IntType(CENTERS)
        with Loop(b, int_(0), int_(w), int_(1), []) as each:  # PANEL points side by side, for their latencies
            places = [b.add(each.i, int_(v * w)) for v in range(PANEL)]
            outs = [b.add(args[10], place) for place in places]
            winners = [b.load(simd.at(b, pl, out)) for out in outs]
            offsets = [b.zext(winner, I64) for winner in winners]
            tiles_ = [simd.at(b, pc, b.mul(offset, tile_size)) for offset in offsets]
            begin = []
            for offset in offsets:
                norms = simd.load(b, simd.at(b, ph, b.mul(offset, int_(CENTERS))), eight)
                begin.append(b.fsub(simd.const(eight, -0.0), norms))
            with Loop(b, int_(0), d_, int_(1), begin) as features:
                acc = []
                for place, tile, value in zip(places, tiles_, features.values, strict=True):
                    point = simd.at(b, points, b.add(b.mul(features.i, int_(PANEL * w)), place))
                    here = simd.load(b, simd.at(b, tile, b.mul(features.i, int_(CENTERS))), eight)
                    acc.append(simd.fma(b, simd.splat(b, b.load(point), CENTERS), here, value))
                features.next(acc)
            for out, winner, values in zip(outs, winners, features.results, strict=True):
                largest = simd.splat(b, b.load(simd.at(b, p1, out)), CENTERS)
                equal = b.bitcast(b.fcmp_ordered("==", values, largest), bits)
                first = simd.call(b, f"llvm.cttz.i{CENTERS}", bits, [equal, ir.Constant(ir.IntType(1), 0)])
                chosen = b.zext(first, I32)
                is_chosen = b.icmp_signed("==", lane, simd.splat(b, chosen, CENTERS))
                rest = simd.fold(b, b.select(is_chosen, simd.const(eight, float("-inf")), values), simd.maximum)
                p_second = simd.at(b, p2, out)
                b.store(simd.maximum(b, rest, b.load(p_second)), p_second)
                b.store(b.add(b.mul(winner, ir.Constant(I32, CENTERS)), chosen), simd.at(b, pl, out))
            each.next([])
        return context.get_dummy_value()

    i8 = types.int64
    return types.void(width, p, i8, c, h, i8, i8, v1, v2, label, i8, i8, i8), codegen

"""Lane width per CPU, and the few LLVM vector helpers the micro-kernels are written with.

A micro-kernel is LLVM IR built once per lane width.  The width reaches it as a *type*: callers pass ``lanes(w)``, so
that Numba compiles and caches each width on its own and one process can run several of them.
"""

from __future__ import annotations

import contextlib
import functools
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, config, types
from numba.extending import NativeValue, intrinsic, models, overload, register_model, typeof_impl, unbox

F32 = ir.FloatType()
F64 = ir.DoubleType()
I32 = ir.IntType(32)
I64 = ir.IntType(64)

WIDTHS = (1, 4, 8, 16)

_forced: list[int] = []


@functools.cache
def cpu_features() -> frozenset[str]:
    """Names of the features that Numba compiles for, as LLVM calls them."""
    import llvmlite.binding as llvm
    import numba

    features = numba.config.CPU_FEATURES
    if features is None and numba.config.CPU_NAME == "generic":
        features = ""  # as Numba takes it
    if features is None:
        return frozenset(name for name, on in llvm.get_host_cpu_features().items() if on)
    return frozenset(f[1:] for f in features.split(",") if f.startswith("+"))


@functools.cache
def native_lanes() -> int:
    """Lanes of float32 for this CPU: 16 with AVX-512, 8 with AVX2 and FMA, 4 on 64-bit Arm, else 1, plain loops."""
    import platform

    if platform.machine().lower() in ("aarch64", "arm64"):
        return 4
    have = cpu_features()
    if "avx512f" in have:
        return 16
    return 8 if {"avx2", "fma"} <= have else 1


def lane_width() -> int:
    """The width in use: forced by `force_lanes` or FASTKMEANS_LANES (both meant for tests), else the CPU's own."""
    if _forced:
        return _forced[-1]
    wish = os.environ.get("FASTKMEANS_LANES")
    if wish is None:
        return native_lanes()
    if wish not in {str(w) for w in WIDTHS}:
        raise ValueError(f"FASTKMEANS_LANES must be one of {WIDTHS}, got {wish!r}")
    return int(wish)


def is_native() -> bool:
    """Whether nobody forces a width."""
    return not _forced and "FASTKMEANS_LANES" not in os.environ


@contextlib.contextmanager
def force_lanes(width: int) -> Iterator[None]:
    """Run with another lane width inside the block.  The result must not change; tests check that it does not."""
    if width not in WIDTHS:
        raise ValueError(f"width must be one of {WIDTHS}, got {width!r}")
    _forced.append(width)
    try:
        yield
    finally:
        _forced.pop()


class Lanes:
    """A lane width as an argument of kernels: to Numba a type of its own that takes no room."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count


class LanesType(types.Type):
    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(f"Lanes({count})")


register_model(LanesType)(models.OpaqueModel)


@typeof_impl.register(Lanes)
def _typeof_lanes(value: Lanes, context: Any) -> LanesType:
    return LanesType(value.count)


@unbox(LanesType)
def _unbox_lanes(lanes_type: LanesType, value: Any, c: Any) -> NativeValue:
    return NativeValue(c.context.get_dummy_value())


@overload(len)
def _len_of_lanes(width):
    if not isinstance(width, LanesType):
        return None
    count = width.count
    return lambda width: count


lanes = functools.cache(Lanes)


# ---------------------------------------------------------------------------------------------------------------------
# IR helpers: `b` is an llvmlite builder, vectors are <w x float> or <w x double>
# ---------------------------------------------------------------------------------------------------------------------


def vector(element: ir.Type, width: int) -> ir.Type:
    return ir.VectorType(element, width)


def const(vtype: ir.Type, value: Any) -> ir.Constant:
    """A vector constant with the same value in all lanes."""
    return ir.Constant(vtype, [ir.Constant(vtype.element, value)] * vtype.count)


def data(context: Any, b: Any, array_type: types.Array, array: Any) -> Any:
    """Pointer to the first element of a Numba array."""
    return context.make_array(array_type)(context, b, array).data


def at(b: Any, pointer: Any, offset: Any) -> Any:
    """Pointer to element `offset`, an i64 or a Python int."""
    return b.gep(pointer, [ir.Constant(I64, offset) if isinstance(offset, int) else offset])


def load(b: Any, pointer: Any, vtype: ir.Type, align: int = 4) -> Any:
    """Unaligned vector load."""
    value = b.load(b.bitcast(pointer, vtype.as_pointer()))
    value.align = align
    return value


def store(b: Any, value: Any, pointer: Any, align: int = 4) -> None:
    """Unaligned vector store."""
    b.store(value, b.bitcast(pointer, value.type.as_pointer())).align = align


def opaque(b: Any, pointer: Any) -> Any:
    """The same pointer, or number, of which LLVM knows nothing: what is loaded through it is loaded there, not kept."""
    kind = ir.FunctionType(pointer.type, [pointer.type])
    return b.asm(kind, "", "=r,0", [pointer], False)


def splat(b: Any, scalar: Any, width: int) -> Any:
    vtype = vector(scalar.type, width)
    one = b.insert_element(ir.Constant(vtype, ir.Undefined), scalar, ir.Constant(I32, 0))
    return b.shuffle_vector(one, ir.Constant(vtype, ir.Undefined), ir.Constant(vector(I32, width), [0] * width))


def call(b: Any, name: str, result: ir.Type, arguments: list[Any]) -> Any:
    """Call an LLVM intrinsic by its full name; llvmlite cannot declare one over vectors by itself."""
    function_type = ir.FunctionType(result, [a.type for a in arguments])
    return b.call(cgutils.get_or_insert_function(b.module, function_type, name), arguments)


def suffix(vtype: ir.Type) -> str:
    kind = {F32: "f32", F64: "f64", I32: "i32", I64: "i64"}[vtype.element]
    return f"v{vtype.count}{kind}"


def fma(b: Any, x: Any, y: Any, z: Any) -> Any:
    return call(b, f"llvm.fma.{suffix(x.type)}", x.type, [x, y, z])


def int_(value: int) -> ir.Constant:
    """A number in the code that is built, 64 bits wide."""
    return ir.Constant(I64, value)


def prefetch(b: Any, address: Any) -> None:
    """Ask for the line at an address (i64) to be read soon; any address is allowed."""
    pointer = b.inttoptr(address, ir.IntType(8).as_pointer())
    hints = [ir.Constant(I32, value) for value in (0, 2, 1)]  # read, second-level cache, data
    function_type = ir.FunctionType(ir.VoidType(), [pointer.type, I32, I32, I32])
    b.call(cgutils.get_or_insert_function(b.module, function_type, "llvm.prefetch.p0"), [pointer, *hints])


def maximum(b: Any, x: Any, y: Any) -> Any:
    """max as the hardware has it (no NaN here): one instruction, unlike llvm.maxnum."""
    return b.select(b.fcmp_ordered(">", x, y), x, y)


def minimum(b: Any, x: Any, y: Any) -> Any:
    return b.select(b.fcmp_ordered("<", x, y), x, y)


def signs(b: Any, x: Any) -> Any:
    """Which lanes are negative: a bit for each, int64."""
    w = x.type.count
    negative = b.icmp_signed("<", b.bitcast(x, vector(I32, w)), const(vector(I32, w), 0))
    return opaque(b, b.zext(b.bitcast(negative, ir.IntType(w)), I64))  # LLVM would join several, in a roundabout way


def append(b: Any, place: Any, first: Any, chosen: Any) -> Any:
    """Write first + i (int32) for every lane i that is `chosen`, one after the other; returns how many, an int64.

    Without a branch, which would be foretold badly: up to as many values as there are lanes are written.
    """
    w = chosen.type.count
    itype = vector(I32, w)
    if w == 16 and "avx512f" in cpu_features():
        numbers = b.add(splat(b, b.trunc(first, I32), w), ir.Constant(itype, list(range(w))))
        packed = call(b, "llvm.x86.avx512.mask.compress.v16i32", itype, [numbers, const(itype, 0), chosen])
        store(b, packed, place)
        return b.zext(call(b, "llvm.ctpop.i16", ir.IntType(16), [b.bitcast(chosen, ir.IntType(16))]), I64)
    count = int_(0)
    for lane in range(w):
        b.store(b.add(b.trunc(first, I32), ir.Constant(I32, lane)), at(b, place, count))
        count = b.add(count, b.zext(b.extract_element(chosen, ir.Constant(I32, lane)), I64))
    return count


def shuffle(b: Any, x: Any, y: Any, lanes_: list[int]) -> Any:
    return b.shuffle_vector(x, y, ir.Constant(vector(I32, len(lanes_)), lanes_))


def fold(b: Any, x: Any, combine: Any) -> Any:
    """Reduce a vector to a scalar with a commutative `combine(b, x, y)` by halving."""
    width = x.type.count
    while width > 1:
        width //= 2
        x = combine(b, shuffle(b, x, x, list(range(width))), shuffle(b, x, x, list(range(width, 2 * width))))
    return b.extract_element(x, ir.Constant(I32, 0))


def batch_rows(width: int) -> int:
    """Rows of a tile that fold_rows takes at a time."""
    return {16: 12, 8: 6, 4: 4}[width]


def fold_rows(b: Any, rows: list[Any], combine: Any) -> Any:
    """Reduce each of up to w vectors: lane i of the result is the fold of rows[i].

    Pairs of vectors are halved into one, so that w of them cost w - 1 steps rather than w log w.
    """
    width = rows[0].type.count
    segment = width
    while segment > 1:
        half = segment // 2
        if len(rows) % 2:
            rows = [*rows, rows[-1]]
        starts = [source + start for source in (0, width) for start in range(0, width, segment)]
        low = [start + i for start in starts for i in range(half)]
        high = [i + half for i in low]
        rows = [
            combine(b, shuffle(b, x, y, low), shuffle(b, x, y, high))
            for x, y in zip(rows[::2], rows[1::2], strict=True)
        ]
        segment = half
    return rows[0]


class Loop:
    """``for i in range(start, stop, step)`` with loop-carried values, which stay in registers.

    ``with Loop(b, start, stop, step, carried) as loop:`` gives ``loop.i`` and ``loop.values``; the body must call
    ``loop.next(new_values)`` last.  Afterwards ``loop.results`` holds the final values.
    """

    def __init__(self, b: Any, start: Any, stop: Any, step: Any, carried: list[Any]) -> None:
        self.b, self.stop, self.step = b, stop, step
        self.entry = b.block
        self.head = b.append_basic_block("loop.head")
        self.body = b.append_basic_block("loop.body")
        self.exit = b.append_basic_block("loop.exit")
        self.start, self.carried = start, carried

    def __enter__(self) -> Loop:
        b = self.b
        b.branch(self.head)
        b.position_at_end(self.head)
        self.i = b.phi(I64)
        self.i.add_incoming(self.start, self.entry)
        self.values = []
        for value in self.carried:
            phi = b.phi(value.type)
            phi.add_incoming(value, self.entry)
            self.values.append(phi)
        b.cbranch(b.icmp_signed("<", self.i, self.stop), self.body, self.exit)
        b.position_at_end(self.body)
        return self

    def next(self, values: list[Any]) -> None:
        b = self.b
        for phi, value in zip(self.values, values, strict=True):
            phi.add_incoming(value, b.block)
        self.i.add_incoming(b.add(self.i, self.step), b.block)
        b.branch(self.head)

    def __exit__(self, *exc: object) -> None:
        self.b.position_at_end(self.exit)
        self.results = list(self.values)


def in_rounds(b: Any, count: Any, together: int, carried: list[Any], step: Any) -> list[Any]:
    """What step(numbers, carried) makes of the values for 0, 1, ... count: `together` at a time, the rest singly."""

    def rounds(start: Any, stop: Any, size: int, carried: list[Any]) -> list[Any]:
        with Loop(b, start, stop, int_(size), carried) as loop:
            loop.next(step([loop.i] + [b.add(loop.i, int_(e)) for e in range(1, size)], loop.values))
        return loop.results

    if together == 1:
        return rounds(int_(0), count, 1, carried)
    whole = b.and_(count, int_(-together))
    return rounds(whole, count, 1, rounds(int_(0), whole, together, carried))


# ---------------------------------------------------------------------------------------------------------------------
# intrinsics that the plain loops use too: with the JIT disabled they are Python
# ---------------------------------------------------------------------------------------------------------------------

if config.DISABLE_JIT:

    def fetch_add(counter, amount):
        """As below."""
        before = int(counter[0])
        counter[0] += amount
        return before

    def float_bits(value):
        """As below."""
        return int(np.float64(value).view(np.int64))

    def from_bits(bits):
        """As below."""
        return np.int64(bits).view(np.float64)

    def fetch_ahead(address):
        """As below: nothing to do."""

    def fetch_value(X, i, j):
        """As below: nothing to do."""

    def lowest_bit(bits):
        """As below."""
        return (int(bits) & -int(bits)).bit_length() - 1

else:

    @intrinsic
    def fetch_add(typingctx, counter, amount):
        """Atomically add to counter[0] (int64) and return what it was: how lanes share blocks."""

        def codegen(context, b, signature, args):
            pointer = data(context, b, signature.args[0], args[0])
            return b.atomic_rmw("add", pointer, args[1], "monotonic")

        return types.int64(counter, types.int64), codegen

    @intrinsic
    def float_bits(typingctx, value):
        """The bits of a float64 as int64."""

        def codegen(context, b, signature, args):
            return b.bitcast(args[0], I64)

        return types.int64(types.float64), codegen

    @intrinsic
    def from_bits(typingctx, bits):
        """The float64 with the bits of an int64."""

        def codegen(context, b, signature, args):
            return b.bitcast(args[0], F64)

        return types.float64(types.int64), codegen

    @intrinsic
    def fetch_ahead(typingctx, address):
        """Ask for the line at an address (int64) to be read soon; any address is allowed."""

        def codegen(context, b, signature, args):
            prefetch(b, args[0])
            return context.get_dummy_value()

        return types.void(types.int64), codegen

    @intrinsic
    def fetch_value(typingctx, X, i, j):
        """Ask for the line that holds X[i, j] to be read soon; rows and columns beyond the last are allowed."""

        def codegen(context, b, signature, args):
            array = context.make_array(signature.args[0])(context, b, args[0])
            offsets = [b.mul(index, b.extract_value(array.strides, axis)) for axis, index in enumerate(args[1:])]
            prefetch(b, b.add(b.ptrtoint(array.data, I64), b.add(*offsets)))
            return context.get_dummy_value()

        return types.void(X, types.int64, types.int64), codegen

    @intrinsic
    def lowest_bit(typingctx, bits):
        """Number of the lowest bit set in an int64 other than zero."""

        def codegen(context, b, signature, args):
            function_type = ir.FunctionType(I64, [I64, ir.IntType(1)])
            function = cgutils.get_or_insert_function(b.module, function_type, "llvm.cttz.i64")
            return b.call(function, [args[0], ir.Constant(ir.IntType(1), 1)])

        return types.int64(types.int64), codegen

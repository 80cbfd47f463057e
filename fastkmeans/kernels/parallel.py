"""The one parallel loop: over lanes, each a call of a plain lane function by its address.

Entered from Python only, with the number of lanes equal to the number of threads.  Lanes share their work by an atomic
counter, so it does not matter which of them is fast.

Numba puts the code of a function into every caller and optimizes it there anew, in a parallel loop three times, and a
loop with the forty arguments of some lanes takes more than a second to compile.  So a lane is compiled once, for
callers from Python; the loop is compiled once, for three numbers; and between them stands a small function for every
kind of arguments, which takes those of a lane from memory.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import prange, typeof, types
from numba._dispatcher import compute_fingerprint
from numba.core import cgutils
from numba.core.callconv import errcode_t, excinfo_ptr_t
from numba.extending import intrinsic

from .jit import kernel
from .simd import I64, Lanes, int_

_addresses: dict[tuple[Any, ...], int] = {}


@intrinsic
def call(typingctx, function, arguments, lane):
    """Call a function of caller_of, given its address, and note what it raises: the pool would lose it."""
    place = (types.int64, types.int64)

    def codegen(context, b, signature, args):
        convention = context.call_conv
        callee = b.inttoptr(args[0], convention.get_function_type(types.none, place).as_pointer())
        index = context.cast(b, args[2], signature.args[2], types.int64)
        status, _ = convention.call_function(b, callee, types.none, place, [args[1], index])
        with cgutils.if_unlikely(b, status.is_error):
            note = b.inttoptr(args[1], I64.as_pointer())
            b.store(b.ptrtoint(status.excinfoptr, I64), b.gep(note, [int_(1)]))
            b.store(b.sext(status.code, I64), note)
        return context.get_dummy_value()

    return types.void(*place, lane), codegen


@intrinsic
def raise_noted(typingctx, arguments):
    """Raise what `call` noted there, of one of the lanes if of several."""

    def codegen(context, b, signature, args):
        convention = context.call_conv
        note = b.inttoptr(args[0], I64.as_pointer())
        code = b.trunc(b.load(note), errcode_t)
        raised = b.inttoptr(b.load(b.gep(note, [int_(1)])), excinfo_ptr_t)
        status = convention._get_return_status(b, code, raised)
        with cgutils.if_unlikely(b, status.is_error):
            convention.return_status_propagate(b, status)
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@kernel(parallel=True)
def run_lanes(n, function, arguments):
    """Call a function of caller_of n times, for one lane each."""
    for lane in prange(n):
        call(function, arguments, lane)


@intrinsic
def caller_of(typingctx, arguments):
    """The address of a function (place, lane) that calls a lane function: its address and its arguments are at `place`.

    arguments: the tuple at `place`, of what lanes raised (see `call`), the address, what all lanes share, and arrays of
    which a lane takes its own element.
    """
    _, _, shared, private = arguments
    own = [typingctx.resolve_function_type(operator.getitem, (array, types.intp), {}) for array in private]
    kinds = (*shared, *(element.return_type for element in own))

    def codegen(context, outer, signature, args):
        convention = context.call_conv
        own_kinds = (types.int64, types.int64)
        name = outer.module.get_unique_name("call_lane")
        function = ir.Function(outer.module, convention.get_function_type(types.none, own_kinds), name)
        function.linkage = "internal"
        convention.decorate_function(function, ("place", "lane"), own_kinds)
        b = ir.IRBuilder(function.append_basic_block("entry"))
        place, lane = convention.get_arguments(function)
        address, values, arrays = (
            b.load(cgutils.gep_inbounds(b, b.inttoptr(place, args[0].type.as_pointer()), 0, i)) for i in (1, 2, 3)
        )
        lane_function = b.inttoptr(address, convention.get_function_type(types.none, kinds).as_pointer())
        elements = [
            context.get_function(operator.getitem, element)(b, (array, lane))
            for element, array in zip(own, cgutils.unpack_tuple(b, arrays), strict=True)
        ]
        given = zip(kinds, [*cgutils.unpack_tuple(b, values), *elements], strict=True)
        lent = [_lent(context, b, kind, value) for kind, value in given]
        status, _ = convention.call_function(b, lane_function, types.none, kinds, lent)
        with cgutils.if_unlikely(b, status.is_error):
            convention.return_status_propagate(b, status)
        convention.return_value(b, context.get_dummy_value())
        return outer.ptrtoint(function, I64)

    return types.int64(arguments), codegen


def _lent(context: Any, b: Any, kind: types.Type, value: Any) -> Any:
    """An array as a lane gets it: without its count of references, which the caller holds.

    Lanes would count in one place, some of them once a panel, and wait for each other there (k-means++ on few features
    took a quarter to two times longer).
    """
    if not isinstance(kind, types.Array):
        return value
    array = context.make_array(kind)(context, b, value)
    for name in ("meminfo", "parent"):
        setattr(array, name, cgutils.get_null_value(getattr(array, name).type))
    return array._getvalue()


@intrinsic
def place_of(typingctx, value):
    """The address of a copy of a value, which is there until the function that asked returns."""

    def codegen(context, b, signature, args):
        return b.ptrtoint(cgutils.alloca_once_value(b, args[0]), I64)

    return types.int64(value), codegen


@kernel
def enter(n, address, shared, private):
    """Call the lane function at an address n times, with what all share and element i of every private array."""
    arguments = ((np.int64(0), np.int64(0)), address, shared, private)
    place = place_of(arguments)
    run_lanes(n, caller_of(arguments), place)
    raise_noted(place)


def entry_arguments(lane_kernel: Any, shared: tuple[Any, ...], private: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of `enter` but for the first: where the code for such arguments begins, and these.

    It is compiled if need be.  A lane width takes no room, nor does None, which stands for it here: Numba's
    fingerprints do not know widths, and to find the types of a tuple without one takes most of a millisecond.
    """
    others, widths = shared, ()
    if Lanes in map(type, shared):
        others = tuple([None if type(argument) is Lanes else argument for argument in shared])
        widths = tuple([len(argument) for argument in shared if type(argument) is Lanes])
    first = tuple([array[0] for array in private])
    key = lane_kernel, widths, compute_fingerprint((others, first))
    address = _addresses.get(key)
    if address is None:
        signature = tuple(typeof(argument) for argument in (*shared, *first))
        lane_kernel.compile(signature)
        compiled = lane_kernel.overloads[signature]
        if compiled.signature.return_type != types.none:
            raise TypeError(f"{lane_kernel} must return nothing, not {compiled.signature.return_type}")
        address = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
        _addresses[key] = address
    return address, others, private

"""The one parallel body: a prange over lanes, each a call of a plain lane function by its address.

Called from Python only, with the number of lanes equal to the number of threads.  Lanes share their work by an atomic
counter, so it does not matter which of them is fast.  They are called by address because Numba puts the code of a
function into every caller and optimizes it there anew, in a parallel loop three times: a lane is compiled once, for
callers from Python, and the body for its kinds of arguments costs about a second.

Numba loses what is raised on a thread of its pool, so a lane's exception is noted and raised once all have returned.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numba import prange, typeof, types
from numba._dispatcher import compute_fingerprint
from numba.core import cgutils
from numba.core.callconv import errcode_t, excinfo_ptr_t
from numba.extending import intrinsic

from .jit import kernel
from .simd import I64, Lanes, int_

_addresses: dict[tuple[Any, ...], int] = {}


@intrinsic
def call_lane(typingctx, address, shared, private, lane, note):
    """Call the function at an address with these arguments and element `lane` of the private ones; it returns nothing.

    What it raises is noted: Numba's status code and the address of what describes the exception.
    """
    own = [typingctx.resolve_function_type(operator.getitem, (array, types.intp), {}) for array in private]
    kinds = (*shared, *(element.return_type for element in own))

    def codegen(context, b, signature, args):
        convention = context.call_conv
        function = b.inttoptr(args[0], convention.get_function_type(types.none, kinds).as_pointer())
        index = context.cast(b, args[3], signature.args[3], types.intp)
        elements = [
            context.get_function(operator.getitem, element)(b, (array, index))
            for element, array in zip(own, cgutils.unpack_tuple(b, args[2]), strict=True)
        ]
        values = [*cgutils.unpack_tuple(b, args[1]), *elements]
        status, _ = convention.call_function(b, function, types.none, kinds, values)
        for element, value in zip(own, elements, strict=True):
            context.nrt.decref(b, element.return_type, value)
        with cgutils.if_unlikely(b, status.is_error):
            code, raised = _places(context, b, signature.args[4], args[4])
            b.store(b.sext(status.code, I64), code)
            b.store(b.ptrtoint(status.excinfoptr, I64), raised)
        return context.get_dummy_value()

    return types.void(types.int64, shared, private, lane, note), codegen


@intrinsic
def raise_noted(typingctx, note):
    """Raise what `call_lane` noted: the exception of a lane, of any if of several."""

    def codegen(context, b, signature, args):
        convention = context.call_conv
        code, raised = _places(context, b, signature.args[0], args[0])
        code, raised = b.trunc(b.load(code), errcode_t), b.inttoptr(b.load(raised), excinfo_ptr_t)
        status = convention._get_return_status(b, code, raised)
        with cgutils.if_unlikely(b, status.is_error):
            convention.return_status_propagate(b, status)
        return context.get_dummy_value()

    return types.void(note), codegen


def _places(context, b, kind, note):
    """Pointers to the two elements of a note."""
    data = context.make_array(kind)(context, b, note).data
    return data, b.gep(data, [int_(1)])


@kernel(parallel=True)
def run_lanes(n, address, shared, private, note):
    """Call the lane function at an address n times, with what all share and element i of every private array.

    note: two zeros, int64, for what a lane raises.
    """
    for lane in prange(n):
        call_lane(address, shared, private, lane, note)
    raise_noted(note)


def body_arguments(lane_kernel: Any, shared: tuple[Any, ...], private: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of run_lanes but for the first: where the code for such arguments begins, these, and a new note.

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
    return address, others, private, np.zeros(2, np.int64)

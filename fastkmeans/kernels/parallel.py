"""The one parallel body: a prange over lanes, each a call of a plain lane function by its address.

Called from Python only, with the number of lanes equal to the number of threads.  Lanes share their work by an atomic
counter, so it does not matter which of them is fast.  They are called by address because Numba puts the code of a
function into every caller and optimizes it there anew, in a parallel loop three times: a lane is compiled once, for
callers from Python, and the body for its kinds of arguments costs about a second.
"""

from __future__ import annotations

import operator
from typing import Any

from numba import prange, typeof, types
from numba._dispatcher import compute_fingerprint
from numba.core import cgutils
from numba.extending import intrinsic

from .jit import kernel
from .simd import Lanes

_addresses: dict[tuple[Any, ...], int] = {}


@intrinsic
def call_lane(typingctx, address, shared, private, lane):
    """Call the function at an address with these arguments and element `lane` of the private ones; it returns nothing.

    What it raises ends the loop's call on the calling thread; on another thread of the pool Numba loses it.
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
            convention.return_status_propagate(b, status)
        return context.get_dummy_value()

    return types.void(types.int64, shared, private, lane), codegen


@kernel(parallel=True)
def run_lanes(n, address, shared, private):
    """Call the lane function at an address n times, with what all share and element i of every private array."""
    for lane in prange(n):
        call_lane(address, shared, private, lane)


def body_arguments(lane_kernel: Any, shared: tuple[Any, ...], private: tuple[Any, ...]) -> tuple[Any, ...]:
    """The arguments of run_lanes but for the first: where the code for such arguments begins, and these.

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

"""Calls of lane functions by their address.

Numba puts the code of a function into every caller, and optimizes it there anew: of a parallel loop three times.  The
parallel bodies call lanes that are compiled once, for callers from Python.
"""

from __future__ import annotations

from typing import Any

from numba import typeof, types
from numba._dispatcher import compute_fingerprint
from numba.core import cgutils
from numba.extending import intrinsic

from .simd import Lanes

_addresses: dict[tuple[Any, ...], int] = {}


@intrinsic
def call_lane(typingctx, address, arguments):
    """Call the function at an address, which takes these arguments, a tuple, and returns nothing."""
    if not isinstance(arguments, types.BaseTuple):
        return None

    def codegen(context, b, signature, args):
        kinds = tuple(signature.args[1])
        convention = context.call_conv
        function = b.inttoptr(args[0], convention.get_function_type(types.none, kinds).as_pointer())
        values = cgutils.unpack_tuple(b, args[1], len(kinds))
        status, _ = convention.call_function(b, function, types.none, kinds, values)
        with cgutils.if_unlikely(b, status.is_error):
            convention.return_status_propagate(b, status)
        return context.get_dummy_value()

    return types.void(types.int64, arguments), codegen


def address_of(lane_kernel: Any, arguments: tuple[Any, ...]) -> int:
    """Where the code of a lane function for such arguments begins; it is compiled if need be."""
    widths = [len(argument) for argument in arguments if isinstance(argument, Lanes)]  # fingerprints do not know them
    others = tuple(argument for argument in arguments if not isinstance(argument, Lanes))
    key = lane_kernel, *widths, compute_fingerprint(others)
    found = _addresses.get(key)
    if found is None:
        signature = tuple(typeof(argument) for argument in arguments)
        lane_kernel.compile(signature)
        compiled = lane_kernel.overloads[signature]
        if compiled.signature.return_type != types.none:
            raise TypeError(f"{lane_kernel} must return nothing, not {compiled.signature.return_type}")
        found = compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name)
        _addresses[key] = found
    return found

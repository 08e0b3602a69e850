"""Copying parts of tiles past the caches, compiled by numba.

A chunk of patches is several times as large as a processor's caches. Ordinary stores would
first fetch from memory every line that they are about to overwrite; these do not. It takes
half the time. What importing this module takes: see `dplabtools.readers.compiled`.
"""

# ruff: noqa: ANN401, ARG001, PLR0913, PLR0917 - the signatures are numba's

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from dplabtools.machine_code import numba

__all__ = ["copy_parts"]

_LINE = 64  # bytes of a cache line
_BYTES = ir.IntType(8).as_pointer()


def _bytes_copied(typing: Any, to: Any, start: Any, count: Any) -> Any:
    """Copy bytes from one address to another."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        target, source = (builder.inttoptr(each, _BYTES) for each in values[:2])
        kinds = [_BYTES, _BYTES, ir.IntType(64)]
        copy = builder.module.declare_intrinsic("llvm.memcpy", kinds)
        builder.call(copy, [target, source, values[2], ir.Constant(ir.IntType(1), 0)])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64), generate


def _line_copied(typing: Any, to: Any, start: Any) -> Any:
    """Copy a line from any address to one that is a multiple of its length."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        _store_line(builder, *values)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


def _line_copied_past_caches(typing: Any, to: Any, start: Any) -> Any:
    """Copy a line so, without fetching from memory what is overwritten."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        stored = _store_line(builder, *values)
        one = builder.module.add_metadata([ir.Constant(ir.IntType(32), 1)])
        stored.set_metadata("nontemporal", one)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64), generate


def _store_line(builder: Any, to: Any, start: Any) -> Any:
    line = ir.VectorType(ir.IntType(8), _LINE).as_pointer()
    pixels = builder.load(builder.inttoptr(start, line), align=1)
    return builder.store(pixels, builder.inttoptr(to, line), align=_LINE)


def _all_stored(typing: Any) -> Any:
    """Wait until everybody sees what was stored past the caches."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        builder.fence("seq_cst")
        return context.get_dummy_value()

    return types.void(), generate


_copy_bytes: Any = intrinsic(_bytes_copied)
_copy_line: Any = intrinsic(_line_copied)
_copy_line_past_caches: Any = intrinsic(_line_copied_past_caches)
_settle: Any = intrinsic(_all_stored)


@numba.njit(  # type: ignore[untyped-decorator,unused-ignore]
    "void(uint8[:, :, ::1], int64, int64[:, ::1], int64, int64, int64[:, ::1], boolean)",
    nogil=True,
    cache=True,
)
def copy_parts(
    tile: Any,
    pitch: int,
    copies: Any,
    begin: int,
    end: int,
    places: Any,
    past_caches: bool,  # noqa: FBT001 - numba takes arguments by place
) -> None:
    """Copy parts of a tile; nothing is checked.

    Parameters
    ----------
    tile : ndarray of uint8, shape (height, width, 3)
        Its pixels.
    pitch : int
        Bytes from one row of it to the next; 0 if it has one row, to be repeated.
    copies : ndarray of int64, shape (c, 7)
        What goes from the tile to which rectangle; see `TilePlan`.
    begin, end : int
        Which of them.
    places : ndarray of int64, shape (n, 2)
        Of each rectangle, its address, and the bytes of a row.
    past_caches : bool
        Nobody will look at the pixels soon.
    """
    for number in range(begin, end):
        rectangle, y, x, row, column, rows, count = copies[number]
        source = tile.ctypes.data + y * pitch + x
        target = places[rectangle, 0] + row * places[rectangle, 1] + column
        for _ in range(rows):
            done = min(-target % _LINE, count)
            if done:
                _copy_bytes(target, source, done)
            while done + _LINE <= count:
                if past_caches:
                    _copy_line_past_caches(target + done, source + done)
                else:
                    _copy_line(target + done, source + done)
                done += _LINE
            if done < count:
                _copy_bytes(target + done, source + done, count - done)
            source += pitch
            target += places[rectangle, 1]
    if past_caches:
        _settle()

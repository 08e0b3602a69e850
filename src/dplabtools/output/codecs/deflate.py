"""Deflate streams of filtered pixels, made for speed.

What a PNG filter leaves of a photograph hardly ever repeats, so that looking for matches
is most of the work of a general compressor and little of its gain. Here are only Huffman
codes, and runs of zeros, which are what is left of blank areas (RFC 1951, section 3.2).
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import numpy.typing as npt

from dplabtools._typing import Pixels
from dplabtools.machine_code import numba

__all__ = ["deflated", "filtered_rows"]

_WORD: Final = 8  # bytes looked at together
_BLOCK_BYTES: Final = 1 << 17  # with Huffman codes of their own; whole words
_LEAST_RUN: Final = 2  # words
_LONGEST: Final = 15  # bits of a code
_END: Final = 256  # the symbol that ends a block
_SYMBOLS: Final = 286
_MATCH: Final = 258  # bytes, the longest match
_HEADER_ORDER: Final = np.array(
    [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15]
)


def _lengths_of_matches() -> tuple[npt.NDArray[np.int64], ...]:
    """Return symbol, number of extra bits and extra bits of each length of a match."""
    symbol, extra, value = (np.zeros(_MATCH + 1, np.int64) for _ in range(3))
    length = 3
    for number in range(28):
        bits = max(number // 4 - 1, 0)
        for rest in range(1 << bits):
            symbol[length], extra[length], value[length] = 257 + number, bits, rest
            length += 1
    symbol[_MATCH], extra[_MATCH], value[_MATCH] = 285, 0, 0
    return symbol, extra, value


_LENGTH_SYMBOL, _LENGTH_BITS, _LENGTH_VALUE = _lengths_of_matches()


def filtered_rows(pixels: Pixels) -> Pixels:
    """Return the rows of an image, filtered by Paeth's predictor, as PNG stores them.

    Parameters
    ----------
    pixels : ndarray of uint8, shape (height, width, 3)
        The image; contiguous.

    Returns
    -------
    ndarray of uint8, shape (height, 1 + width * 3)
        A 4 before each row, which names the filter.
    """
    height, width = pixels.shape[:2]
    out = np.empty((height, 1 + width * 3), dtype=np.uint8)
    _paeth(pixels.reshape(height, width * 3), out)
    return out


def deflated(data: Pixels) -> Pixels:
    """Return bytes as a bare deflate stream.

    Parameters
    ----------
    data : ndarray of uint8
        Contiguous, of any shape.
    """
    flat = data.reshape(-1)
    words = flat[: len(flat) // _WORD * _WORD].view(np.uint64)
    # No byte takes more than 15 bits, and a header less than 200 bytes.
    blocks = len(flat) // _BLOCK_BYTES + 1
    out = np.empty(len(flat) // 4 + blocks * 32, dtype=np.uint64)
    count: int = _deflate(flat, words, out)
    return out.view(np.uint8)[:count]


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _paeth(rows: Any, out: Any) -> None:  # noqa: ANN401 - compiled
    height, width = rows.shape
    above = np.zeros(width, np.uint8)
    for i in range(height):
        row, to = rows[i], out[i]
        to[0] = 4
        for j in range(min(3, width)):
            to[1 + j] = row[j] - above[j]
        for j in range(3, width):  # in 16 bits: twice as many at once
            a, b, c = np.int16(row[j - 3]), np.int16(above[j]), np.int16(above[j - 3])
            p, q = np.int16(b - c), np.int16(a - c)
            pa, pb, pc = np.int16(abs(p)), np.int16(abs(q)), np.int16(abs(p + q))
            guess = b if pb <= pc else c
            guess = a if pa <= pb and pa <= pc else guess
            to[1 + j] = np.uint8(np.int16(row[j]) - guess)
        above = row


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _deflate(data: Any, words: Any, out: Any) -> Any:  # noqa: ANN401 - compiled
    """Write the stream; return its number of bytes."""
    # Where to; words written; bits to come, and their number.
    writer = (out, 0, np.uint64(0), np.uint64(0))
    for start in range(0, len(data), _BLOCK_BYTES):
        stop = min(start + _BLOCK_BYTES, len(data))
        inner = words[start // _WORD : stop // _WORD]
        tail = data[start + len(inner) * _WORD : stop]
        lengths = _code_lengths(_counted(inner, tail))
        codes = _codes(lengths)
        writer = _write_header(lengths, stop == len(data), writer)
        writer = _write_symbols(inner, codes, writer)
        for byte in tail:
            writer = _write_code(codes[byte], writer)
        writer = _write_code(codes[_END], writer)
    out, position, bits, filled = writer
    out[position] = bits
    return position * _WORD + (int(filled) + 7) // 8


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _run(words: Any, i: int) -> int:  # noqa: ANN401 - compiled
    """Return the number of words that are zero from one on; 0 if they are too few."""
    j = i
    while j < len(words) and words[j] == 0:
        j += 1
    return j - i if j - i >= _LEAST_RUN else 0


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _match(left: int) -> int:
    """Return how much of a run a match takes, so that the rest is not too short for one."""
    if _MATCH < left < _MATCH + 3:
        return left - 3
    return min(left, _MATCH)


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _counted(words: Any, tail: Any) -> Any:  # noqa: ANN401 - compiled
    """Return how often each symbol occurs."""
    counts = np.zeros((4, _SYMBOLS), np.int64)  # four: to count the same twice is slow
    i = 0
    while i < len(words):
        word = words[i]
        run = _run(words, i) if word == 0 else 0
        if run:
            counts[0, 0] += 1
            left = run * _WORD - 1
            while left:
                length = _match(left)
                counts[0, _LENGTH_SYMBOL[length]] += 1
                left -= length
            i += run
            continue
        for k in range(_WORD):
            byte = (word >> np.uint64(8 * k)) & np.uint64(0xFF)
            counts[k & 3, np.int64(byte)] += 1
        i += 1
    for byte in tail:
        counts[0, byte] += 1
    counts[0, _END] += 1
    for symbol in range(_SYMBOLS):
        counts[0, symbol] += counts[1, symbol] + counts[2, symbol] + counts[3, symbol]
    return counts[0]


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _code_lengths(counts: Any) -> Any:  # noqa: ANN401 - compiled
    """Return the length of the code of each symbol; 0 for those that do not occur.

    If codes get too long, counts are halved: what is rare gets shorter codes.
    """
    lengths = np.zeros(len(counts), np.int64)
    used = np.empty(len(counts), np.int64)  # count and, in nine bits, symbol
    number = 0
    for symbol in range(len(counts)):
        if counts[symbol]:
            used[number] = (counts[symbol] << 9) | symbol
            number += 1
    while True:
        _sort(used, number)
        depths = _depths(used, number)
        if depths[0] <= _LONGEST:
            for i in range(number):
                lengths[used[i] & 511] = depths[i]
            return lengths
        for i in range(number):
            used[i] = (max(used[i] >> 10, 1) << 9) | (used[i] & 511)


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _sort(values: Any, count: int) -> None:  # noqa: ANN401 - compiled
    """Sort by D. L. Shell's method, which compiles in no time, unlike that of numpy."""
    for gap in (57, 23, 10, 4, 1):
        for i in range(gap, count):
            value, j = values[i], i
            while j >= gap and values[j - gap] > value:
                values[j] = values[j - gap]
                j -= gap
            values[j] = value


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _depths(leaves: Any, count: int) -> Any:  # noqa: ANN401 - compiled
    """Return the depth of each leaf of a Huffman tree, the rarest first: none is deeper."""
    nodes = 2 * count - 1
    totals = np.zeros(nodes, np.int64)
    parents = np.zeros(nodes, np.int64)
    depths = np.zeros(nodes, np.int64)
    for leaf in range(count):
        totals[leaf] = leaves[leaf] >> 9
    leaf, inner = 0, count
    for node in range(count, nodes):
        for _ in range(2):
            if leaf < count and (inner >= node or totals[leaf] <= totals[inner]):
                child = leaf
                leaf += 1
            else:
                child = inner
                inner += 1
            totals[node] += totals[child]
            parents[child] = node
    for node in range(nodes - 2, -1, -1):
        depths[node] = depths[parents[node]] + 1
    return depths[:count]


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _codes(lengths: Any) -> Any:  # noqa: ANN401 - compiled
    """Return the code of each symbol, first bit lowest, and 16 bits up its length."""
    codes = np.zeros(len(lengths), np.uint64)
    code = 0
    for length in range(1, _LONGEST + 1):
        code <<= 1
        for symbol in range(len(lengths)):
            if lengths[symbol] == length:
                turned = 0
                for bit in range(length):
                    turned |= ((code >> bit) & 1) << (length - 1 - bit)
                codes[symbol] = np.uint64(turned | (length << 16))
                code += 1
    return codes


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _write(value: Any, count: Any, writer: Any) -> Any:  # noqa: ANN401 - compiled
    """Write up to 63 bits, as uint64: mixed with signed numbers they would be floats."""
    out, position, bits, filled = writer
    bits |= value << filled
    after = filled + count
    if after >= 64:
        out[position] = bits
        return out, position + 1, value >> (np.uint64(64) - filled), after - np.uint64(64)
    return out, position, bits, after


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _write_code(code: Any, writer: Any) -> Any:  # noqa: ANN401 - compiled
    return _write(code & np.uint64(0xFFFF), code >> np.uint64(16), writer)


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _write_header(lengths: Any, last: Any, writer: Any) -> Any:  # noqa: ANN401
    """Begin a block: its code lengths, four bits each, and a single distance: one."""
    begin = np.uint64(int(last) | (2 << 1) | (29 << 3) | (0 << 8) | (15 << 13))
    writer = _write(begin, np.uint64(17), writer)
    for symbol in _HEADER_ORDER:
        writer = _write(np.uint64(4 if symbol < 16 else 0), np.uint64(3), writer)
    for number in range(_SYMBOLS + 1):
        length = lengths[number] if number < _SYMBOLS else 1
        turned = (length & 1) << 3 | (length & 2) << 1 | (length & 4) >> 1 | length >> 3
        writer = _write(np.uint64(turned), np.uint64(4), writer)
    return writer


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _write_symbols(words: Any, codes: Any, writer: Any) -> Any:  # noqa: ANN401
    i = 0
    while i < len(words):
        word = words[i]
        run = _run(words, i) if word == 0 else 0
        if run:
            writer = _write_run(run * _WORD, codes, writer)
            i += run
            continue
        for half in range(2):
            bits, count = np.uint64(0), np.uint64(0)
            for k in range(4):
                byte = (word >> np.uint64(32 * half + 8 * k)) & np.uint64(0xFF)
                code = codes[np.int64(byte)]
                bits |= (code & np.uint64(0xFFFF)) << count
                count += code >> np.uint64(16)
            writer = _write(bits, count, writer)
        i += 1
    return writer


@numba.njit(nogil=True, cache=True)  # type: ignore[untyped-decorator,unused-ignore]
def _write_run(count: int, codes: Any, writer: Any) -> Any:  # noqa: ANN401
    """Write zeros: one, and then what lies one byte before."""
    writer = _write_code(codes[0], writer)
    left = count - 1
    while left:
        length = _match(left)
        writer = _write_code(codes[_LENGTH_SYMBOL[length]], writer)
        # Behind the extra bits comes the code of the distance: a single zero.
        extra = np.uint64(_LENGTH_BITS[length] + 1)
        writer = _write(np.uint64(_LENGTH_VALUE[length]), extra, writer)
        left -= length
    return writer

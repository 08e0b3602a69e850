"""Machine code: whether each function can be compiled, and does what it has to."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import version
from typing import Final

import numpy as np
from PIL import Image

from dplabtools._typing import Pixels
from dplabtools.cli.findings import Finding
from dplabtools.engine.base import run
from dplabtools.engine.choose import RunOptions, open_engine
from dplabtools.readers.compiled import COPYING, RESIZING, CompiledFunction
from dplabtools.readers.fast_resizing import ResizingPlan

__all__ = ["look_at_compiled"]

_TOPIC: Final = "Machine code"


def look_at_compiled() -> Iterator[Finding]:
    """Yield whether each compiled function works; tried in a process that may crash."""
    with open_engine("processes", RunOptions(timeout_s=60)) as engine:
        outcomes = sorted(
            run(engine, _Check(), list(_CHECKED)), key=lambda each: each.index
        )
    for name, outcome in zip(_CHECKED, outcomes, strict=True):
        yield _finding(name, outcome.result, outcome.error)


def _finding(name: str, same: object, error: Exception | None) -> Finding:
    """Return what became of a function: it was compiled, and gives the same, or not."""
    if error is None and isinstance(same, str):
        return Finding(
            topic=_TOPIC,
            name=name,
            found=f"cannot be compiled ({same}): slower, with the same pixels",
            state="note",
            remedy="pip install --force-reinstall llvmlite",
        )
    if error is None and same:
        found = f"compiled by llvmlite {version('llvmlite')}, with the same pixels"
        return Finding(topic=_TOPIC, name=name, found=found)
    return Finding(
        topic=_TOPIC,
        name=name,
        found=f"fails: {error or 'it gives other pixels'}",
        state="wrong",
        remedy="pip uninstall llvmlite: what it compiles is done without it, more slowly; "
        "and report this",
    )


class _Check:
    """Compiles a function and compares what it does with what it has to."""

    def __call__(self, name: str, /) -> bool | str:
        """Return whether that is the same; text if it cannot be compiled."""
        function, is_same = _CHECKED[name]
        try:
            compiled = function.compiled()
        except Exception as error:  # noqa: BLE001 - however a compiler fails
            return f"{type(error).__name__}: {error}"
        pixels = np.random.default_rng(1).integers(0, 256, (97, 83, 3), dtype=np.uint8)
        return is_same(compiled, pixels)

    def close(self) -> None:
        """Nothing is kept."""


def _copies(copy_parts: Callable[..., None], pixels: Pixels) -> bool:
    """Tell whether all of an image but its border is copied up and to the right."""
    copied, pitch = np.empty_like(pixels), pixels.strides[0]
    copies = np.array([[0, 2, 3, 0, 6, 95, pitch - 6]], np.int64)
    places = np.array([[copied.ctypes.data, pitch]], np.int64)
    first, tables = pixels.ctypes.data, (copies.ctypes.data, places.ctypes.data)
    for past_caches in (0, 1):
        copied[:] = 0
        copy_parts(first, pitch, None, tables[0], 0, 1, tables[1], past_caches)
        if not np.array_equal(copied[:95, 2:], pixels[2:, 1:-1]):
            return False
    return True


def _resizes(resize_images: Callable[..., None], pixels: Pixels) -> bool:
    """Tell whether an image is resized as Pillow does it."""
    out, lanczos = np.empty((40, 31, 3), np.uint8), Image.Resampling.LANCZOS
    image = [[pixels.ctypes.data, pixels.strides[0], out.ctypes.data]]
    plan = ResizingPlan((83, 97), (31, 40), lanczos)
    plan.resize(resize_images, np.array(image, np.int64))
    expected = Image.fromarray(pixels).resize((31, 40), lanczos)
    return np.array_equal(out, np.asarray(expected))


_CHECKED: Final[Mapping[str, tuple[CompiledFunction, Callable[..., bool]]]] = {
    "copying": (COPYING, _copies),
    "resizing": (RESIZING, _resizes),
}

"""Image files: written aside, and under their names once they are whole; read back."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dplabtools._typing import IntArray, Picture, Pixels
from dplabtools.atomic import writing
from dplabtools.output.codecs.decoding import decode_image
from dplabtools.output.codecs.encoder import ImageEncoder, encode_views
from dplabtools.stages import stage

__all__ = ["FileImages", "ImagePlace"]

_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePlace:
    """Places of a chunk's patches in a folder.

    Attributes
    ----------
    slide : str
        Name of the slide, for messages.
    root : str
        The folder.
    staging : str
        A folder in it for what is not whole yet; each process makes its own there, so that
        they do not wait for each other.
    paths : tuple of tuple of str
        Files of each patch, one for each resolution, relative to `root`.
    encoders : tuple of ImageEncoder
        One for each resolution.
    """

    slide: str
    root: str
    staging: str
    paths: tuple[tuple[str, ...], ...]
    encoders: tuple[ImageEncoder, ...]

    @property
    def takes_jpeg(self) -> bool:
        """Whether stored JPEG streams become files as they are."""
        return self.encoders[0].takes_jpeg

    def canvas(self, items: IntArray, sizes: IntArray, /, *, views: int) -> None:
        """Return None: files are encoded from whole patches."""

    def put(self, item: int, pictures: Sequence[Picture], /) -> None:
        """Write the files of a patch aside; they get their names when all are whole.

        Raises
        ------
        OutputError
            If they cannot be written.
        """
        with stage("encode"):
            files = encode_views(self.encoders, pictures)
        names = self.paths[item]
        with stage("write"), writing(f"{self.root}/{names[0]}", slide=self.slide):
            written = [self._aside(number, data) for number, data in enumerate(files)]
            for aside, name in zip(written, names, strict=True):
                self._rename(aside, name)

    def flush(self) -> None:
        """Do nothing: each file is written at once."""

    def commit(self) -> None:
        """Do nothing: each file has its name."""

    def _aside(self, number: int, data: bytes) -> str:
        """Write a file in a folder of this process alone, under a name of this thread."""
        folder = f"{self.staging}/{os.getpid()}"
        path = f"{folder}/{threading.get_ident()}-{number}"
        try:
            descriptor = os.open(path, _NEW, 0o666)
        except FileNotFoundError:
            # Only its own folder: when the run was killed and is resumed, the staging
            # folder is gone, and this worker must not write any more.
            Path(folder).mkdir(exist_ok=True)
            descriptor = os.open(path, _NEW, 0o666)
        try:
            left = memoryview(data)
            while left:
                left = left[os.write(descriptor, left) :]
        finally:
            os.close(descriptor)
        return path

    def _rename(self, aside: str, name: str) -> None:
        """Give a whole file its name; folders of labels and sets appear with the first."""
        # Paths of `pathlib` would take as long as the call itself.
        path = f"{self.root}/{name}"
        try:
            os.replace(aside, path)  # noqa: PTH105
        except FileNotFoundError:
            folder = Path(self.root)
            for part in name.split("/")[:-1]:  # the root itself has to be there
                folder /= part
                folder.mkdir(exist_ok=True)
            os.replace(aside, path)  # noqa: PTH105


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FileImages:
    """Images in files of their own.

    Attributes
    ----------
    folder : Path
        Where they are.
    names : ndarray of bytes, shape (n,)
        Path of each, from there.
    """

    folder: Path
    names: npt.NDArray[np.bytes_]

    def read(self, index: int, /) -> Pixels:
        """Return the pixels of an image."""
        return decode_image((self.folder / self.names[index].decode()).read_bytes())

"""Files of features, one for each slide, as the readers of the field want them."""

from __future__ import annotations

import io
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import numpy as np
import torch

from dplabtools import __version__
from dplabtools._typing import IntArray
from dplabtools.atomic import output_error, sync_file_system, sync_folder, write_whole
from dplabtools.errors import ModelOutputError
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.geometry.resolution import Resolution
from dplabtools.inference.encoding import Features
from dplabtools.optional import optional
from dplabtools.output.run_folder.fingerprint import Fingerprint
from dplabtools.records.foreign_attributes import OWN_RESOLUTION, trident_attributes

if TYPE_CHECKING:
    from dplabtools.output.run_folder.remote import RemoteFolder

__all__ = ["LAYOUTS", "FeatureLayout", "SlideBag", "StoredBag"]

_FINGERPRINT: Final = "dplabtools_fingerprint"
_VERSION: Final = "dplabtools_version"
_MISSING: Final = "dplabtools_missing"
_STAMP_VERSION: Final = "2.1.0"
"""The oldest STAMP that reads ``tile_size_um``: each refuses files of newer ones."""
_ZARR_ROWS: Final = 4096  # of a chunk


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class SlideBag:
    """What is to be written of a slide.

    Attributes
    ----------
    name : str
        Name of the slide, without its extension.
    features : ndarray of float32, shape (n, d)
        A row for each patch.
    origins : ndarray of int64, shape (n, 2)
        (x, y) of their top-left corners, in level 0 pixels.
    edge : int
        Edge of a patch, in its own pixels.
    resolution : Level or Mpp
        Of the patches.
    pyramid : Pyramid
        Levels of the slide.
    fingerprint : Fingerprint
        All that decides what is written.
    missing : int
        Patches that were asked for and could not be read.
    """

    name: str
    features: Features
    origins: IntArray
    edge: int
    resolution: Resolution
    pyramid: Pyramid
    fingerprint: Fingerprint
    missing: int

    @property
    def encoder(self) -> str:
        """Name of the encoder."""
        return str(self.fingerprint.parameters["encoder"])

    def own_attributes(self) -> dict[str, object]:
        """Return what this package wants to know about its file later."""
        return {
            _FINGERPRINT: json.dumps(asdict(self.fingerprint), sort_keys=True),
            _VERSION: __version__,
            _MISSING: self.missing,
        }

    def trident(self) -> dict[str, object]:
        """Return the attributes that TRIDENT gives to coordinates."""
        attributes = trident_attributes(
            self.pyramid,
            edge=self.edge,
            downsample=self.pyramid.downsample(self.resolution),
            origins=self.origins,
        )
        return {**attributes, "name": self.name, OWN_RESOLUTION: self.resolution.number}


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBag:
    """What a file of features says about itself.

    Attributes
    ----------
    fingerprint : mapping of str to object
        ``slide``, ``parameters`` and ``patches`` as a `Fingerprint` has them.
    patches, missing : int
        Rows, and patches that could not be read.
    """

    fingerprint: Mapping[str, Any]
    patches: int
    missing: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureLayout:
    """A kind of files of features.

    Attributes
    ----------
    file : str
        Path of the file of a slide in the output folder, with ``{}`` for its name. It is
        whole when it is there.
    write : callable
        Writes it, and whatever else belongs to it, given what and where.
    read : callable
        Returns what a file says about itself, or raises `OSError`, `KeyError` or
        `ValueError`, if it is none.
    beside : str
        Path of another file that belongs to it, in the same way; may be empty.
    header : sequence of str
        Where it is a folder: files in it that `read` takes. The first is written last.
    needs_mpp : bool
        Whether the slide has to state its microns per pixel.
    library : callable
        Raises `MissingLibraryError` if it cannot be written here.
    """

    file: str
    write: Callable[[SlideBag, Path], None]
    read: Callable[[Path | BinaryIO], StoredBag]
    library: Callable[[], object]
    beside: str = ""
    header: Sequence[str] = ()
    needs_mpp: bool = False

    def path(self, folder: Path, name: str) -> Path:
        """Return the file of a slide."""
        return folder / self.file.replace("{}", name)

    def files(self, folder: Path, file: Path) -> list[Path]:
        """Return the file of a slide, and what belongs to it."""
        beside = folder / self.beside.replace("{}", file.stem)
        return [file, beside] if self.beside else [file]

    def last(self, file: Path) -> list[Path]:
        """Return what says that the file of a slide is whole."""
        return [file / self.header[0]] if self.header else [file]

    def open(self, file: Path, remote: RemoteFolder | None) -> Path | BinaryIO | None:
        """Return what `read` takes of the file of a slide; None if it is not there.

        Raises
        ------
        OutputError
            If it is at an address, and cannot be had.
        """
        if remote is not None:
            if not self.header:
                return remote.stream(file) if remote.holds(file) else None
            for name in self.header:  # without the first it is there by half, if at all
                remote.fetch(file / name)
                if not file.exists():
                    break
        return file if file.exists() else None


def _h5py() -> Any:  # noqa: ANN401 - a module without types
    return optional("h5py", what="HDF5 files of features", extra="hdf5")


def _zarr() -> Any:  # noqa: ANN401 - a module without types
    return optional("zarr", what="Zarr groups of features", extra="zarr")


def _write_hdf5(
    bag: SlideBag,
    path: Path,
    *,
    datasets: Mapping[str, Any],
    attributes: Mapping[str, object],
) -> None:
    """Write arrays, each with its attributes, and attributes of the file itself.

    In memory first: HDF5 does not survive a full disk.
    """
    memory = io.BytesIO()
    with _h5py().File(memory, "w") as file:
        for name, (data, own) in datasets.items():
            dataset = file.create_dataset(name, data=data)
            dataset.attrs.update(own)
        file.attrs.update({**attributes, **bag.own_attributes()})
    write_whole(path, memory.getbuffer(), slide=bag.pyramid.slide)


def _read_hdf5(path: Path | BinaryIO) -> StoredBag:
    with _h5py().File(path, "r") as file:
        return StoredBag(
            fingerprint=json.loads(file.attrs[_FINGERPRINT]),
            patches=len(file["coords"]),
            missing=int(file.attrs[_MISSING]),
        )


def _write_trident(bag: SlideBag, path: Path) -> None:
    """Write ``features`` and ``coords``, with the attributes of both."""
    common = {"name": bag.name, "savetodir": str(path.parent)}
    _write_hdf5(
        bag,
        path,
        datasets={
            "features": (bag.features, {**common, "encoder": bag.encoder}),
            "coords": (bag.origins, {**bag.trident(), **common}),
        },
        attributes={},
    )


def _write_clam(bag: SlideBag, path: Path) -> None:
    """Write the same in the folders of CLAM; the features alone for PyTorch, before."""
    _, pytorch = LAYOUTS["clam"].files(path.parents[1], path)
    memory = io.BytesIO()
    torch.save(torch.from_numpy(bag.features), memory)
    pytorch.parent.mkdir(exist_ok=True)
    write_whole(pytorch, memory.getbuffer(), slide=bag.pyramid.slide)
    _write_trident(bag, path)


def _write_stamp(bag: SlideBag, path: Path) -> None:
    """Write ``feats`` of 16 bits, ``coords`` in microns, and attributes of the file.

    Raises
    ------
    ModelOutputError
        If 16 bits do not hold the features.
    """
    with np.errstate(over="ignore"):
        half = bag.features.astype(np.float16)
    if not np.isfinite(half).all():
        msg = (
            f"STAMP's layout has 16 bits, which hold values up to 65,504, and the encoder "
            f"returned {np.abs(bag.features).max():g}"
        )
        raise ModelOutputError(msg, slide=bag.pyramid.slide, remedy="use another layout")
    microns = (bag.origins * bag.pyramid.required_mpp()).astype(np.float32)
    _write_hdf5(
        bag,
        path,
        datasets={"feats": (half, {}), "coords": (microns, {})},
        attributes={
            "stamp_version": _STAMP_VERSION,
            "extractor": bag.encoder,
            "unit": "um",
            "tile_size_um": bag.edge * bag.pyramid.mpp_of(bag.resolution),
            "tile_size_px": bag.edge,
            "code_hash": bag.fingerprint.parameters_sha256[:8],
            "feat_type": "tile",
        },
    )


def _write_zarr(bag: SlideBag, path: Path) -> None:
    """Write a group with ``features`` and ``coords``; it gets its name when it is whole."""
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            group = _zarr().create_group(
                aside,
                attributes={
                    "encoder": bag.encoder,
                    "mpp": None
                    if bag.pyramid.mpp is None
                    else bag.pyramid.mpp_of(bag.resolution),
                    **bag.trident(),
                    **bag.own_attributes(),
                },
            )
            for name, data in (("features", bag.features), ("coords", bag.origins)):
                chunks = (min(len(data), _ZARR_ROWS), data.shape[1])
                group.create_array(name, data=data, chunks=chunks)
            sync_file_system(aside)
            aside.rename(path)
        finally:
            shutil.rmtree(aside, ignore_errors=True)
        sync_folder(path.parent)
    except OSError as error:
        raise output_error(error, path, slide=bag.pyramid.slide) from error


def _read_zarr(path: Path | BinaryIO) -> StoredBag:
    group = _zarr().open_group(path, mode="r")
    return StoredBag(
        fingerprint=json.loads(group.attrs[_FINGERPRINT]),
        patches=int(group["coords"].shape[0]),
        missing=int(group.attrs[_MISSING]),
    )


LAYOUTS: Final[Mapping[str, FeatureLayout]] = {
    "trident": FeatureLayout(
        file="{}.h5", write=_write_trident, read=_read_hdf5, library=_h5py
    ),
    "clam": FeatureLayout(
        file="h5_files/{}.h5",
        beside="pt_files/{}.pt",
        write=_write_clam,
        read=_read_hdf5,
        library=_h5py,
    ),
    "stamp": FeatureLayout(
        file="{}.h5", write=_write_stamp, read=_read_hdf5, library=_h5py, needs_mpp=True
    ),
    "zarr": FeatureLayout(
        file="{}.zarr",
        write=_write_zarr,
        read=_read_zarr,
        library=_zarr,
        header=("zarr.json", "coords/zarr.json"),
    ),
}

"""Containers that are read by themselves: what they say of their patches."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dplabtools._typing import Size
from dplabtools.optional import optional
from dplabtools.output.containers.stored_arrays import Hdf5Images, ZarrImages
from dplabtools.output.containers.stored_files import ParquetImages
from dplabtools.output.containers.stored_tar import TarImages
from dplabtools.output.containers.webdataset import Member, members
from dplabtools.output.stored_slide import (
    Images,
    Part,
    Views,
    coded,
    names_array,
    parse_number,
    text_column,
)
from dplabtools.records.patch_table import Shares

__all__ = ["open_hdf5", "open_parquet", "open_tar", "open_zarr"]


def open_tar(path: Path) -> Part:
    """Open an archive of WebDataset, as it is written here."""
    records: list[dict[str, Any]] = []
    images: list[Member] = []
    with path.open("rb") as file:
        for member in members(path):
            if member.name.endswith(".json"):
                file.seek(member.offset)
                records.append(json.loads(file.read(member.length)))
            else:
                images.append(member)
    views = len(images) // len(records) if records else 1
    if len(images) != len(records) * views:
        msg = f"it has {len(images)} images, and {len(records)} descriptions of patches"
        raise ValueError(msg)
    names = list(records[0]) if records else []
    columns = {name: [record[name] for record in records] for name in names}
    source = TarImages(
        folder=path.parent,
        files=(path.name,),
        codes=np.zeros(len(images), dtype=np.int64),
        keys=names_array([member.name.rpartition(".")[0] for member in images]),
        offsets=np.array([member.offset for member in images], dtype=np.int64),
        lengths=np.array([member.length for member in images], dtype=np.int64),
    )
    return _part(path, columns, views=views, images=source)


def open_parquet(path: Path) -> Part:
    """Open a Parquet file, as it is written here."""
    parquet = optional("pyarrow.parquet", what="Parquet files", extra="parquet")
    with parquet.ParquetFile(path) as file:
        names: list[str] = file.schema_arrow.names
        views = sum(name.startswith("image") for name in names)
        plain = [name for name in names if not name.startswith("image")]
        columns = file.read(columns=plain).to_pydict()
    count = len(columns["label"])
    source = ParquetImages(
        folder=path.parent,
        files=(path.name,),
        codes=np.zeros(count, dtype=np.int64),
        rows=np.arange(count),
        views=views,
    )
    return _part(path, columns, views=views, images=source)


def _part(
    path: Path, columns: Mapping[str, Sequence[Any]], *, views: int, images: Images
) -> Part:
    """Return patches that are described by columns of the same names in both."""
    ends = [""] if views == 1 else [f"_{view}" for view in range(views)]
    labels, codes = coded(columns.get("label", ()))
    ours = {"slide", "label", "width", "height", "coverage"}
    ours |= {f"{name}{end}" for name in ("x", "y", "level_or_mpp", "mpp") for end in ends}
    corners = [[columns.get(f"{name}{end}", ()) for name in "xy"] for end in ends]
    sizes = [columns.get(name, ()) for name in ("width", "height")]

    def firsts(name: str) -> list[Any]:
        """Return the value of each view in the first row: the others have the same."""
        return [columns[f"{name}{end}"][0] for end in ends] if len(codes) else [0] * views

    return Part(
        wsi_file=columns["slide"][0] if len(codes) else path.name,
        views=Views(
            levels_or_mpps=tuple(
                parse_number(str(each)) for each in firsts("level_or_mpp")
            ),
            mpps=tuple(firsts("mpp")),
        ),
        labels=labels,
        codes=codes,
        origins=np.array(corners, dtype=np.int64).transpose(2, 0, 1),
        sizes=np.array(sizes, dtype=np.int64).T,
        coverage=np.array(columns.get("coverage", ()), dtype=np.float32),
        sets=None,
        images=images,
        extra={
            name: text_column(values)
            for name, values in columns.items()
            if name not in ours
        },
    )


def open_hdf5(path: Path) -> Part:
    """Open an HDF5 file, as it is written here."""
    h5py = optional("h5py", what="HDF5 files", extra="hdf5")
    with h5py.File(path, "r") as file:
        attributes = dict(file.attrs)
        labels, codes = coded(file["labels"].asstr()[:].tolist())
        count, views, size = _measures(file["imgs"].shape)
        return Part(
            wsi_file=str(attributes["dplabtools_slide"]),
            views=Views(
                levels_or_mpps=tuple(json.loads(attributes["dplabtools_levels_or_mpps"])),
                mpps=tuple(json.loads(attributes["dplabtools_mpps"])),
            ),
            labels=labels,
            codes=codes,
            origins=file["coords"][:].astype(np.int64).reshape(count, views, 2),
            sizes=np.full((count, 2), size),
            coverage=_coverage(file, count),
            sets=None,
            images=Hdf5Images(path=path, rows=np.arange(count), views=views),
            extra=_repeated(json.loads(attributes.get("dplabtools_columns", "{}")), count),
        )


def open_zarr(path: Path) -> Part:
    """Open a Zarr group, as it is written here."""
    group = optional("zarr", what="Zarr arrays", extra="zarr").open_group(path, mode="r")
    attributes: dict[str, Any] = dict(group.attrs)
    count, views, size = _measures(group["imgs"].shape)
    return Part(
        wsi_file=attributes["slide"],
        views=Views(
            levels_or_mpps=tuple(attributes["level_or_mpp"]), mpps=tuple(attributes["mpp"])
        ),
        labels=tuple(attributes["labels"]),
        codes=group["label"][:],
        origins=group["coords"][:].reshape(count, views, 2),
        sizes=np.full((count, 2), size),
        coverage=_coverage(group, count),
        sets=None,
        images=ZarrImages(path=path, rows=np.arange(count), views=views),
        extra=_repeated(attributes.get("columns", {}), count),
    )


def _measures(shape: tuple[int, ...]) -> tuple[int, int, Size]:
    """Return number, images and (width, height) of patches in an array of this shape."""
    return shape[0], shape[1] if len(shape) == 5 else 1, (shape[-2], shape[-3])


def _repeated(columns: Mapping[str, str], count: int) -> dict[str, npt.NDArray[np.object_]]:
    """Return what is the same for all patches, for each of them."""
    return {name: text_column([text] * count) for name, text in columns.items()}


def _coverage(group: Any, count: int) -> Shares:  # noqa: ANN401 - of h5py or zarr
    if "coverage" in group:
        coverage: Shares = group["coverage"][:]
        return coverage
    return np.full(count, np.nan, dtype=np.float32)

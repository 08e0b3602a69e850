"""What may be asked of a container."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, SupportsIndex

from dplabtools.errors import ParameterError
from dplabtools.output.codecs.encoder import ImageEncoder
from dplabtools.output.comparison import StoredImages
from dplabtools.output.containers.base import Contained, Container, SlideFiles
from dplabtools.output.containers.hdf5 import Hdf5File
from dplabtools.output.containers.hdf5_rows import h5py_library
from dplabtools.output.containers.image_shards import ImageShards
from dplabtools.output.containers.parquet import pyarrow
from dplabtools.output.containers.zarr import ZarrGroup
from dplabtools.output.containers.zarr_shards import zarr_library
from dplabtools.output.run_folder.stored_manifests import Manifest
from dplabtools.slides.patches._disk import ContainerKind
from dplabtools.slides.patches._request import parse_count

__all__ = ["ContainerOptions"]

_OPTIONS = {"hdf5": (), "zarr": ("compress_level", "shard_size")}  # others have an encoder
_SHARD_SIZE = "shard_size"
_COMPRESS_LEVEL = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerOptions:
    """The parameters of a container, as given.

    Attributes
    ----------
    kind : {"webdataset", "hdf5", "zarr", "parquet"}
        What files are like.
    image_type : str or None
        Format of the images in it; None where it holds pixels.
    save_options : mapping of str to object
        ``shard_size``, ``compress_level`` of Zarr, and what the encoder of images takes.

    Raises
    ------
    ParameterError
        If an option makes no sense for the container.
    """

    kind: ContainerKind
    image_type: str | None
    save_options: Mapping[str, Any]

    def __post_init__(self) -> None:
        if self.kind not in _OPTIONS:
            return
        if self.image_type is not None:
            msg = (
                f'container="{self.kind}" holds pixels as they are, and no images of '
                f"image_type {self.image_type!r}; leave image_type out"
            )
            raise ParameterError(msg)
        known = _OPTIONS[self.kind]
        unknown = [name for name in self.save_options if name not in known]
        if unknown:
            msg = (
                f'save_options of container="{self.kind}" may be '
                f"{' and '.join(known) or 'nothing'}, not {', '.join(unknown)}"
            )
            raise ParameterError(msg)

    def container(self) -> Container:
        """Return what makes files of a slide.

        Raises
        ------
        MissingLibraryError
            If the library of the container is not installed.
        OutputFormatError
            If no encoder knows the image type, or likes the options.
        """
        return Container(
            files_of=self._files_of(),
            images_of=_images_of,
            encoder=None if self.kind in _OPTIONS else self._encoder(),
            chunk_rows=self._number(_SHARD_SIZE, None, least=1),
        )

    def _encoder(self) -> ImageEncoder:
        options = {
            name: value for name, value in self.save_options.items() if name != _SHARD_SIZE
        }
        return ImageEncoder(image_type=self.image_type or "", options=options)

    def _files_of(self) -> Callable[[Contained], SlideFiles]:
        if self.kind == "hdf5":
            h5py_library()
            return _hdf5
        if self.kind == "zarr":
            zarr_library()
            level = self._number("compress_level", _COMPRESS_LEVEL, least=0)
            return lambda slide: ZarrGroup(slide=slide, level=level or 0)
        if self.kind == "parquet":
            pyarrow()
        kind, encoder = self.kind, self._encoder()
        return lambda slide: ImageShards(slide=slide, kind=kind, encoder=encoder)

    def _number(self, name: str, default: int | None, *, least: int) -> int | None:
        if name not in self.save_options:
            return default
        value: SupportsIndex = self.save_options[name]
        return parse_count(value, name=f'save_options["{name}"]', least=least)


def _hdf5(slide: Contained) -> SlideFiles:
    return Hdf5File(slide=slide)


def _images_of(table: Path) -> StoredImages:
    manifest = Manifest(
        folder=table.parents[1], table=table, wsi_file=table.stem, order=("", 0)
    )
    return manifest.part().images

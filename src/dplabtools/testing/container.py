"""What is expected of every kind of container."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import pytest

from dplabtools._typing import Pixels, Size
from dplabtools.output.codecs.encoder import ImageEncoder
from dplabtools.output.containers.base import SHARD_SIZE, Container, ContainerFormat
from dplabtools.output.disk_sink import DiskSink
from dplabtools.output.run_folder.manifests import ManifestHead
from dplabtools.output.run_folder.resume import ResumeOptions
from dplabtools.output.sink import Sink
from dplabtools.output.stored_slide import ImageAddresses
from dplabtools.testing.sink import SinkContract

__all__ = ["ANY_HEAD", "ContainerContract"]

ANY_HEAD = ManifestHead(
    wsi_file="any.svs",
    patch_class="Any",
    patch_params={},
    patch_count=0,
    patch_info={},
    extractor_class="Any",
    extractor_params={},
)
"""Of patches that came from nowhere."""


class ContainerContract(SinkContract):
    """Subclass it; override `form` and, if need be, attributes and `image`."""

    @pytest.fixture
    def form(self) -> ContainerFormat:
        """The kind of container."""
        raise NotImplementedError

    def image(self, row: dict[str, str], view: int) -> Pixels:
        """Return a stored image, without what this package reads containers with.

        Parameters
        ----------
        row : dict of str to str
            Of the manifest: ``file``, ``item`` and others.
        view : int
            Which of the resolutions of the patch it is.
        """
        where = ImageAddresses.of_keys(
            self.path / row["file"], [row["item"]] * len(self.views), views=len(self.views)
        )
        return self._form.images_of(where).read(view)

    @pytest.fixture
    def sink(self, form: ContainerFormat, tmp_path: Path) -> Sink:
        """A folder of such containers."""
        self.path, self._form = tmp_path, form
        png = ImageEncoder(image_type="png", options={})
        options = {SHARD_SIZE: 6} if SHARD_SIZE in form.options else {}
        return DiskSink(
            str(tmp_path),
            kind=Container(
                form=form, encoder=png if form.holds_images else None, options=options
            ),
            heads=[ANY_HEAD] * 3,
            options=ResumeOptions(parameters={}),
            sets=len(self.views) > 1,
            first_set=7,
        )

    def contents(self, sink: Sink, sizes: Sequence[Size]) -> list[list[Pixels]]:
        """Return the images that manifests list, of which there are no others."""
        assert isinstance(sink, DiskSink)
        rows = [
            row
            for manifest_id in sink.manifest_ids
            for table in self.path.glob(f"manifests/*{manifest_id}*.csv")
            for row in csv.DictReader(table.read_text("utf-8").splitlines())
        ]
        listed = {row["file"] for row in rows}
        assert {each.split("/")[0] for each in self.traces()} - {"manifests"} == listed
        step = len(self.views)
        return [
            [self.image(row, view) for view, row in enumerate(rows[start : start + step])]
            for start in range(0, len(rows), step)
        ]

    def traces(self) -> list[str]:
        """Return the files and folders that there are."""
        return sorted(str(each.relative_to(self.path)) for each in self.path.rglob("*"))

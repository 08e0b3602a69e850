"""What a run knows of one slide, kept beside its manifest as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from dplabtools import __version__
from dplabtools.errors import ResumeError
from dplabtools.output.run_folder.fingerprint import Fingerprint, SlideIdentity

__all__ = ["SlideRecord", "boot", "read_records", "unfinished_slides"]

_FORMAT = 1
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_UNFINISHED = b'{\n "complete": false,'  # a record that begins with it need not be read on


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideRecord:
    """One slide of a run: what is written of it, and how far that has come.

    Attributes
    ----------
    manifest_id : str
        Eight characters, also in the names of its files.
    begun : str
        When its run was begun: date and time, the same for all slides of a run.
    boot : str
        Which start of which machine it was written in; empty if that is not known.
    wsi_file : str
        Path of the slide.
    place : int
        Its place among the slides of the run.
    first_set : int or None
        Number of its first set, where there are sets.
    fingerprint : Fingerprint
        What decides its output.
    patch_class : str
        Class of the location object.
    patch_params : mapping of str to str
        Its parameters, to explain why patches differ.
    name : str
        What its containers are called; empty for image files.
    shard_rows : int or None
        Patches of a shard, where there are shards.
    complete : bool
        Whether all is written that could be.
    table_crc32 : int or None
        Checksum of the table of its manifest; None until it is complete.
    missing : tuple of int
        Rows that could not be written; empty until it is complete.
    sizes : tuple of int
        Bytes of each file, in the order of the table of the manifest; empty until it is
        complete.
    """

    manifest_id: str
    begun: str
    boot: str
    wsi_file: str
    place: int
    first_set: int | None
    fingerprint: Fingerprint
    patch_class: str
    patch_params: Mapping[str, str]
    name: str = ""
    shard_rows: int | None = None
    complete: bool = False
    table_crc32: int | None = None
    missing: tuple[int, ...] = ()
    sizes: tuple[int, ...] = ()

    @property
    def file_stem(self) -> str:
        """Name of the files in ``manifests``, without their extensions."""
        return f"manifest__{self.manifest_id}__{Path(self.wsi_file).stem}"

    def to_json(self) -> bytes:
        """Return the content of its file."""
        patches = self.fingerprint.patches
        content = {
            "complete": self.complete,
            "format": _FORMAT,
            "version": __version__,
            "manifest_id": self.manifest_id,
            "begun": self.begun,
            "boot": self.boot,
            "wsi_file": self.wsi_file,
            "place": self.place,
            "first_set": self.first_set,
            "name": self.name,
            "shard_rows": self.shard_rows,
            "table_crc32": self.table_crc32,
            "counts": {
                "patches": patches["count"],
                "missing": len(self.missing),
                "files": len(self.sizes),
                "bytes": sum(self.sizes),
            },
            "fingerprint": self.fingerprint.sha256,
            "slide": asdict(self.fingerprint.slide),
            "parameters": self.fingerprint.parameters,
            "patches": patches,
            "patch_class": self.patch_class,
            "patch_params": self.patch_params,
        }
        text = json.dumps(content, indent=1)
        # The long lists in one line each, at the end: the rest is for people, too.
        rows = f'"missing": {json.dumps(self.missing)},\n "sizes": {json.dumps(self.sizes)}'
        return f"{text[:-2]},\n {rows}\n}}\n".encode()

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Read the content of a file.

        Raises
        ------
        ValueError, LookupError, TypeError
            If it is something else.
        """
        content: dict[str, Any] = json.loads(text)
        if content["format"] != _FORMAT:
            msg = f"its format is {content['format']}, of another version of dplabtools"
            raise ValueError(msg)
        return cls(
            manifest_id=content["manifest_id"],
            begun=content["begun"],
            boot=content["boot"],
            wsi_file=content["wsi_file"],
            place=content["place"],
            first_set=content["first_set"],
            fingerprint=Fingerprint(
                slide=SlideIdentity(**content["slide"]),
                parameters=content["parameters"],
                patches=content["patches"],
            ),
            patch_class=content["patch_class"],
            patch_params=content["patch_params"],
            name=content.get("name", ""),
            shard_rows=content.get("shard_rows"),
            complete=content["complete"],
            table_crc32=content.get("table_crc32"),
            missing=tuple(content["missing"]),
            sizes=tuple(content["sizes"]),
        )


def boot() -> str:
    """Return what changes when the machine is started again; empty if that is not known."""
    try:
        return _BOOT.read_text(encoding="ascii").strip()
    except OSError:
        return ""


def read_records(manifests: Path) -> list[SlideRecord]:
    """Read the records of a folder of manifests, in the order of their slides.

    Raises
    ------
    ResumeError
        If one cannot be read.
    """
    records: list[SlideRecord] = []
    for file in sorted(manifests.glob("manifest__*.json")):
        try:
            records.append(SlideRecord.from_json(file.read_bytes()))
        except (OSError, ValueError, LookupError, TypeError) as error:
            msg = (
                f"{file} cannot be read: {error}; move it away, with the files of its "
                f"manifest id"
            )
            raise ResumeError(msg) from error
    return sorted(records, key=lambda each: each.place)


def unfinished_slides(manifests: Path) -> list[str]:
    """Return the slides of a folder of manifests that no run has completed."""
    names: list[str] = []
    for file in sorted(manifests.glob("manifest__*.json")):
        with suppress(OSError), file.open("rb") as opened:
            if opened.read(len(_UNFINISHED)) == _UNFINISHED:
                names.append(file.stem.split("__", 2)[-1])
    return sorted(names)

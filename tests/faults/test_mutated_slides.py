"""Whatever happens to the bytes of a slide: its pixels are exact, or an error names it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dplabtools.testing.make_argos import make_argos_slide
from dplabtools.testing.make_bif import make_bif_slide
from dplabtools.testing.make_dicom import make_dicom_slide
from dplabtools.testing.make_ndpi import make_ndpi_slide
from dplabtools.testing.make_philips import make_philips_slide
from dplabtools.testing.make_scn import make_scn_slide
from dplabtools.testing.make_slide import make_slide

PROGRAM = Path(__file__).with_name("mutants.py")
MUTANTS = 80  # of each slide, times the factor of torture
SIZE, TILE = (300, 230), 64
TIFFS: dict[str, dict[str, Any]] = {
    "jpeg.svs": {"compression": "jpeg"},
    "jpeg.tif": {"compression": "jpeg", "vendor": "generic"},
    "jpeg2000.svs": {"compression": "jpeg2000"},
    "deflate.tif": {"compression": "deflate", "vendor": "generic"},
    "plain.svs": {"compression": "none"},
}
OTHERS: dict[str, Callable[[Path], Path]] = {
    "hamamatsu.ndpi": lambda file: make_ndpi_slide(file, size=(512, 64), tile=128),
    "no-table.ndpi": lambda file: make_ndpi_slide(
        file, size=(512, 64), tile=128, table=False
    ),
    "philips.tiff": lambda file: make_philips_slide(file, size=(320, 256), tile=64),
    "argos.avs": lambda file: make_argos_slide(file, size=(256, 192), tile=64),
    "leica.scn": lambda file: make_scn_slide(
        file, size=(200, 130), offsets=((20, 10), (61, 90)), tile=64
    ),
    "ventana.bif": lambda file: make_bif_slide(
        file, grids=((3, 2), (2, 2)), corners=((8, 0), (0, 64)), tile=64, levels=2
    ),
    "dicom": lambda file: make_dicom_slide(file, size=SIZE, tile=TILE, levels=1),
    "dicom-extended": lambda file: make_dicom_slide(
        file, size=SIZE, tile=TILE, levels=1, table="extended"
    ),
}

IF_ASKED = {".tiff", ".avs", ".scn", ".bif"}


def made(file: Path) -> Path:
    if file.name in OTHERS:
        return OTHERS[file.name](file)
    return make_slide(file, size=SIZE, tile=TILE, levels=2, **TIFFS[file.name])


def outcomes(file: Path, count: int) -> list[tuple[int, str, str]]:
    """Read mutants in a process, and in another one behind each that kills it."""
    found: list[tuple[int, str, str]] = []
    folder = file.parent / "mutants"  # what lies beside a file of DICOM belongs to it
    folder.mkdir()
    library = "native" if file.suffix in IF_ASKED else "auto"
    while len(found) < count:
        arguments = [str(file), str(folder), str(len(found)), str(count), library]
        run = subprocess.run(
            [sys.executable, str(PROGRAM), *arguments],
            capture_output=True,
            text=True,
            check=False,
        )
        found += [tuple(json.loads(line)) for line in run.stdout.splitlines()]
        if run.returncode:
            how = "hang" if run.returncode == -14 else "crash"
            found.append((len(found), "?", f"{how}: {run.returncode} {run.stderr[-300:]}"))
    return found


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self").exists(), reason="limits memory as Linux does")
@pytest.mark.parametrize("name", [*TIFFS, *OTHERS])
def test_mutants_are_exact_or_named(
    name: str, torture: int, tmp_path: Path, record_property: Any
) -> None:
    found = outcomes(made(tmp_path / name), MUTANTS * torture)
    classes = Counter(outcome.split(":")[0] for _, _, outcome in found)
    record_property("classes", dict(classes))
    allowed = {"exact", "named", "unnoticed", "as if left out"}
    assert [each for each in found if each[2].split(":")[0] not in allowed] == []
    assert classes["named"] > 0.3 * len(found)

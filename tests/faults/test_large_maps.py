"""Maps of a large slide are right everywhere, and take no more memory than they have to."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile

pytest.importorskip("torch", reason="torch is not installed")

EDGE = 2048  # pixels of the slide, times the factor of torture
SIDE, FACTOR = 256, 16
MEGABYTES = 150  # beside the maps: batches on their way, and tiles
PROGRAM = """
import resource, sys
import numpy as np
from dplabtools.slides.patches import PatchesMock
from dplabtools.slides.processing import WSIDataset, WSIInference

slide, edge, side = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def maps(count):
    inference = WSIInference(
        model=lambda images: images[:, :2], classifier=None, level_or_minsize=1,
        num_classes=2, num_workers=0, batch_size=16, use_cuda=False,
    )
    inference.set_interpolation_method("area")
    places = [(x, y) for x in range(0, edge, side) for y in range(0, edge, side)]
    rows = [(place, (side, side), "") for place in places[:count]]
    patches = PatchesMock(patch_data=rows, wsi_file=slide, level_or_mpp=0)
    inference.process_dataset(WSIDataset(patches=patches))
    return inference.classes_array

maps(32)
before = peak()
np.save(sys.argv[4], maps(None))
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux does")
def test_maps_of_a_large_slide_are_right_and_bounded(torture: int, tmp_path: Path) -> None:
    edge = EDGE * torture
    tile = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif", bigtiff=True) as tiff:
        for size in (edge, edge // FACTOR):
            tiles = (tile for _ in range((-(-size // SIDE)) ** 2))
            shape = (size, size, 3)
            tiff.write(
                tiles,
                shape=shape,
                dtype=np.uint8,
                tile=(SIDE, SIDE),
                photometric="rgb",
                compression="zlib",
            )
    arguments = [str(tmp_path / "a.tif"), str(edge), str(SIDE), str(tmp_path / "maps.npy")]
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    maps = np.load(tmp_path / "maps.npy")
    cells = tile.reshape(SIDE // FACTOR, FACTOR, SIDE // FACTOR, FACTOR, 3).mean((1, 3))
    count = edge // SIDE
    wanted = np.tile(cells[..., :2].T / 255, (1, count, count))
    np.testing.assert_allclose(maps, wanted, atol=1e-5)
    assert float(run.stdout) < maps.nbytes * 6 / 2**20 + MEGABYTES

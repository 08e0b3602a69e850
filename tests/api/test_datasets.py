from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from dplabtools.errors import MissingSlideError, OutputError, ParameterError
from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    MultiResDiskPatchExtractorPool,
    PatchesMock,
    WholeImageGridPatches,
    open_patches,
    read_locations,
    save_locations,
)

torch = pytest.importorskip("torch", reason="torch is not installed")

from dplabtools.slides.processing import WSIDataset, WSIMultiResDataset  # noqa: E402


@pytest.fixture
def patches(made_slide: Path) -> WholeImageGridPatches:
    return WholeImageGridPatches(
        wsi_file=made_slide,
        mask_data=np.ones((256, 192), dtype=bool),
        patch_size=100,
        foreground_ratio=0,
    )


def _expected(slide_file: Path, patches: Any, level_or_mpp: float = 0) -> list[Any]:
    with GenericSlide(wsi_file=slide_file) as slide:
        return [
            np.asarray(slide.get_region(location, level_or_mpp, size))
            for location, size, _ in patches.patch_data
        ]


def test_a_sample_is_a_tensor_and_its_location(
    patches: WholeImageGridPatches, made_slide: Path
) -> None:
    dataset = WSIDataset(patches=patches)
    assert len(dataset) == patches.patch_count > 40
    image, x, y = dataset[-1]
    assert (image.dtype, tuple(image.shape)) == (torch.float32, (3, 100, 100))
    assert (x, y) == patches.patch_data[-1][0]
    pixels = _expected(made_slide, patches)[-1]
    assert torch.equal(image, torch.from_numpy(pixels.transpose(2, 0, 1) / np.float32(255)))
    assert dataset.patches is patches
    with pytest.raises(IndexError):
        dataset[len(dataset)]


@pytest.mark.slow
@pytest.mark.parametrize("context", ["fork", "spawn", "forkserver"])
@pytest.mark.parametrize("workers", [0, 1, 2])
def test_workers_give_the_same_in_the_same_order(
    patches: WholeImageGridPatches, made_slide: Path, workers: int, context: str
) -> None:
    dataset = WSIDataset(patches=patches, transform_fn=np.mean)
    loader = torch.utils.data.DataLoader(
        dataset,
        batch_size=7,
        num_workers=workers,
        worker_init_fn=dataset.worker_init,
        multiprocessing_context=context if workers else None,
    )
    batches = list(loader)
    means = torch.cat([images for images, _, _ in batches]).tolist()
    assert means == [pixels.mean() for pixels in _expected(made_slide, patches)]
    places = [
        (int(x), int(y)) for _, xs, ys in batches for x, y in zip(xs, ys, strict=True)
    ]
    assert places == [location for location, _, _ in patches.patch_data]


@pytest.mark.parametrize("dtype", [torch.float32, torch.uint8])
@pytest.mark.parametrize("multires", [False, True])
def test_batches_that_are_kept_stay_as_they_were(
    patches: WholeImageGridPatches, dtype: Any, *, multires: bool
) -> None:
    dataset: Any = WSIDataset(patches=patches, dtype=dtype)
    if multires:
        dataset = WSIMultiResDataset(patches=patches, dtype=dtype, levels_or_mpps=[0, 1])
    wanted = list(torch.utils.data.DataLoader(dataset, batch_size=3))
    found = list(torch.utils.data.DataLoader(dataset, batch_size=3, num_workers=2))
    assert len(found) == len(wanted) > 15
    for ours, theirs in zip(found, wanted, strict=True):
        for (image, *place), (expected, *expected_place) in zip(
            [ours], [theirs], strict=True
        ):
            assert all(map(torch.equal, place, expected_place))
            pairs = zip(image, expected, strict=True) if multires else [(image, expected)]
            assert all(torch.equal(one, other) for one, other in pairs)


def test_bytes_are_the_pixels(patches: WholeImageGridPatches, made_slide: Path) -> None:
    dataset = WSIDataset(patches=patches, dtype=torch.uint8)
    images, _, _ = next(iter(torch.utils.data.DataLoader(dataset, batch_size=4)))
    assert tuple(images.shape) == (4, 3, 100, 100)
    for image, pixels in zip(images, _expected(made_slide, patches), strict=False):
        assert (image.numpy() == pixels.transpose(2, 0, 1)).all()
    with pytest.raises(ParameterError, match="dtype"):
        WSIDataset(patches=patches, dtype=torch.float16)


def test_tensors_of_a_transform_are_copied_and_held_by_nobody(
    patches: WholeImageGridPatches,
) -> None:
    kept = torch.zeros(4)
    dataset = WSIDataset(patches=patches, transform_fn=lambda _: kept)
    images, _, _ = next(iter(torch.utils.data.DataLoader(dataset, batch_size=1)))
    images += 1
    assert not kept.any()
    ragged = WSIDataset(patches=patches, transform_fn=iter_sizes([2, 3]))
    with pytest.raises(RuntimeError, match="stack"):
        next(iter(torch.utils.data.DataLoader(ragged, batch_size=2)))


def iter_sizes(sizes: list[int]) -> Any:
    """Return a function that returns tensors of these sizes, in turn."""
    left = iter(sizes)
    return lambda _: torch.zeros(next(left))


def test_patches_of_many_slides_are_numbered_through(
    patches: WholeImageGridPatches, made_slide: Path, lossless_slide: Path
) -> None:
    mocks = [
        PatchesMock(
            patch_data=patches.patch_data[:count], wsi_file=str(file), level_or_mpp=0
        )
        for file, count in ((made_slide, 5), (lossless_slide, 0), (lossless_slide, 7))
    ]
    parts = [WSIDataset(patches=mock) for mock in (mocks[0], mocks[2])]
    wanted = [part[row] for part in parts for row in range(len(part))]
    dataset = pickle.loads(pickle.dumps(WSIDataset(patches=iter(mocks), zero_workers=True)))
    assert len(dataset) == 12
    order = [11, 0, 4, 5, 3, 6, -1]
    for found, row in zip(dataset.__getitems__(order), order, strict=True):
        assert torch.equal(found[0], wanted[row][0])
        assert found[1:] == wanted[row][1:]


def test_a_batch_decodes_each_tile_once(
    patches: WholeImageGridPatches, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dplabtools.extraction.patch_reader import PatchReader

    calls: list[int] = []
    read = PatchReader.read

    def counted(self: PatchReader, rows: Any) -> Any:
        calls.append(len(rows))
        return read(self, rows)

    monkeypatch.setattr(PatchReader, "read", counted)
    loader = torch.utils.data.DataLoader(WSIDataset(patches=patches), batch_size=16)
    assert sum(len(images) for images, _, _ in loader) == patches.patch_count
    assert max(calls) == 16


def test_sets_come_as_lists_in_the_order_asked_for(
    patches: WholeImageGridPatches,
) -> None:
    dataset = WSIMultiResDataset(
        levels_or_mpps=[1, 0.5, 1.3], patches=patches, resampling_mode="tile"
    )
    images, x, y = dataset[5]
    assert [tuple(image.shape) for image in images] == [(3, 100, 100)] * 3
    assert torch.equal(images[1], WSIDataset(patches=patches)[5][0])
    assert (x, y) == patches.patch_data[5][0]
    counted = WSIMultiResDataset(
        levels_or_mpps=[0, 1], patches=patches, transform_fn=len, zero_workers=True
    )
    assert counted[0][0] == 2


def test_patches_from_elsewhere_are_taken_alike(
    patches: WholeImageGridPatches, made_slide: Path, tmp_path: Path
) -> None:
    mock = PatchesMock(
        patch_data=patches.patch_data, wsi_file=str(made_slide), level_or_mpp=0
    )
    save_locations(patches=mock, path=tmp_path / "patches.csv", file_format="csv")
    again = read_locations(
        file=tmp_path / "patches.csv",
        file_format="csv",
        wsi_file=made_slide,
        level_or_mpp=0,
        frame=0,
    )
    (tmp_path / "png").mkdir()
    DiskPatchExtractorPool(
        output_dir=tmp_path / "png",
        image_type="png",
        patches_pool=[mock],
        proc_num_workers=1,
        thread_num_workers=1,
    )
    wanted = WSIDataset(patches=patches)
    for given in (mock, again, open_patches(tmp_path / "png")):
        dataset = pickle.loads(pickle.dumps(WSIDataset(patches=given)))
        assert len(dataset) == len(wanted)
        for index in (0, 9):
            assert torch.equal(dataset[index][0], wanted[index][0])
            assert dataset[index][1:] == wanted[index][1:]


def test_stored_sets_are_taken_at_their_own_resolutions(
    patches: WholeImageGridPatches, tmp_path: Path
) -> None:
    MultiResDiskPatchExtractorPool(
        levels_or_mpps=[0, 1],
        output_dir=tmp_path,
        image_type="png",
        patches_pool=[patches],
        proc_num_workers=1,
        thread_num_workers=1,
    )
    stored = open_patches(tmp_path)
    images, _, _ = WSIMultiResDataset(levels_or_mpps=[0, 1], patches=stored)[3]
    wanted, _, _ = WSIMultiResDataset(levels_or_mpps=[0, 1], patches=patches)[3]
    assert all(map(torch.equal, images, wanted))
    with pytest.raises(ParameterError, match="resolutions"):
        WSIDataset(patches=stored)


def test_patches_can_be_saved_as_they_are_read(
    patches: WholeImageGridPatches, made_slide: Path, tmp_path: Path
) -> None:
    WSIDataset(patches=patches, save_patches_dir=tmp_path)[0]
    (x, y), _, _ = patches.patch_data[0]
    saved = Image.open(tmp_path / f"made_x{x}_y{y}.png")
    assert (np.asarray(saved) == _expected(made_slide, patches)[0]).all()
    with pytest.raises(OutputError, match="save_patches_dir"):
        WSIDataset(patches=patches, save_patches_dir=tmp_path / "none")


def test_a_missing_slide_is_named_when_it_is_opened(tmp_path: Path) -> None:
    mock = PatchesMock(
        patch_data=[((0, 0), (10, 10), "")],
        wsi_file=str(tmp_path / "gone.svs"),
        level_or_mpp=0,
    )
    dataset = WSIDataset(patches=mock)
    with pytest.raises(MissingSlideError, match=r"gone\.svs"):
        dataset[0]
    with pytest.raises(MissingSlideError, match=r"gone\.svs"):
        WSIDataset(patches=mock, zero_workers=True)


def test_wsi_mode_goes_by_the_mpps_it_is_given(made_slide: Path) -> None:
    mock = PatchesMock(
        patch_data=[((0, 0), (64, 64), "")], wsi_file=str(made_slide), level_or_mpp=0.8
    )
    dataset = WSIDataset(patches=mock, resampling_mode="wsi", extra_mpps=[0.8])
    with GenericSlide(
        wsi_file=made_slide, resampling_mode="wsi", extra_mpps=[0.8]
    ) as slide:
        wanted = np.asarray(slide.get_region((0, 0), 0.8, (64, 64)))
    assert torch.equal(
        dataset[0][0], torch.from_numpy(wanted.transpose(2, 0, 1) / np.float32(255))
    )
    with pytest.raises(ParameterError, match="extra_mpps"):
        WSIDataset(patches=mock, resampling_mode="wsi")[0]

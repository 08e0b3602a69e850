from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
from PIL import Image

from dplabtools.errors import ModelOutputError, OutputError, ParameterError
from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import PatchesMock, WholeImageGridPatches

torch = pytest.importorskip("torch", reason="torch is not installed")

from dplabtools.slides.processing import (  # noqa: E402
    WSIDataset,
    WSIInference,
    WSIMultiResDataset,
)


def _means(images: Any) -> Any:
    """Classify by colour: (n, 3) from 0 to 1."""
    return images.mean(dim=(2, 3))


def _inference(**changes: Any) -> WSIInference:
    given: dict[str, Any] = {
        "model": _means,
        "classifier": None,
        "level_or_minsize": 2,
        "num_classes": 3,
        "num_workers": 0,
        "batch_size": 8,
        **changes,
    }
    return WSIInference(**given)


@pytest.fixture
def overlapping(made_slide: Path) -> WholeImageGridPatches:
    """Patches that overlap, and stick out on the right and below."""
    return WholeImageGridPatches(
        wsi_file=made_slide,
        mask_data=np.ones((256, 192), dtype=bool),
        patch_size=150,
        foreground_ratio=0,
        overlap_ratio=0.2,
        patch_stride=0.7,
    )


def _by_hand(slide_file: Path, patches: Any, *, level: int, dense: bool) -> Any:
    """Average what the model says, patch by patch and pixel by pixel."""
    with GenericSlide(wsi_file=slide_file) as slide:
        factor = slide.level_downsamples[level]
        width, height = slide.level_dimensions[level]
        sums = np.zeros((3, width, height))
        counts = np.zeros((width, height))
        for (x, y), size, _ in patches.patch_data:
            pixels = np.asarray(slide.get_region((x, y), 0, size)) / 255
            side = round(size[0] / factor)
            left, top = int(np.floor(x / factor)), int(np.floor(y / factor))
            right, bottom = min(width, left + side), min(height, top + side)
            shown = pixels if dense else np.full((side, side, 3), pixels.mean(axis=(0, 1)))
            shown = shown[: bottom - top, : right - left].transpose(2, 1, 0)
            sums[:, left:right, top:bottom] += shown
            counts[left:right, top:bottom] += 1
    with np.errstate(invalid="ignore"):
        return sums / counts


@pytest.mark.parametrize("workers", [0, 2])
def test_maps_equal_those_of_a_plain_loop(
    overlapping: WholeImageGridPatches, made_slide: Path, workers: int
) -> None:
    inference = _inference(num_workers=workers)
    inference.process_dataset(WSIDataset(patches=overlapping))
    maps = inference.classes_array
    assert maps.shape == (3, 256, 192)
    assert maps.dtype == np.float32
    wanted = _by_hand(made_slide, overlapping, level=2, dense=False)
    assert np.isnan(wanted).any() == np.isnan(maps).any()
    np.testing.assert_allclose(maps, wanted, atol=1e-6)


def test_models_get_floats_however_they_were_sent(
    overlapping: WholeImageGridPatches,
) -> None:
    seen: list[Any] = []

    def model(images: Any) -> Any:
        seen.append(images)
        return images.view(len(images), -1)[:, :3]

    dataset = WSIDataset(patches=overlapping)
    _inference(model=model, num_workers=1).process_dataset(dataset)
    wanted = torch.stack([dataset[row][0] for row in range(len(dataset))])
    assert torch.equal(torch.cat(seen), wanted)
    seen.clear()
    in_bytes = WSIDataset(patches=overlapping, dtype=torch.uint8)
    _inference(model=lambda images: model(images.contiguous()) / 255).process_dataset(
        in_bytes
    )
    assert {images.dtype for images in seen} == {torch.uint8}


def test_values_of_pixels_lie_where_the_pixels_do(
    overlapping: WholeImageGridPatches, made_slide: Path
) -> None:
    inference = _inference(model=lambda images: images, level_or_minsize=0)
    inference.process_dataset(WSIDataset(patches=overlapping))
    wanted = _by_hand(made_slide, overlapping, level=0, dense=True)
    np.testing.assert_allclose(inference.classes_array, wanted, atol=1e-6)


@pytest.mark.parametrize("method", ["nearest", "bilinear", "area"])
def test_values_of_pixels_shrink_to_the_maps(
    overlapping: WholeImageGridPatches, made_slide: Path, method: str
) -> None:
    inference = _inference(model=lambda images: images)
    inference.set_interpolation_method(method)
    inference.process_dataset(WSIDataset(patches=overlapping))
    with GenericSlide(wsi_file=made_slide) as slide:
        level = np.asarray(slide.get_region((0, 0), 2, (256, 192))).transpose(2, 1, 0) / 255
    shown = ~np.isnan(inference.classes_array)
    assert np.abs(inference.classes_array - level)[shown].mean() < 0.05
    with pytest.raises(ParameterError, match="linear"):
        inference.set_interpolation_method("linear")


def test_a_window_weighs_the_middle_of_patches_more(
    overlapping: WholeImageGridPatches,
) -> None:
    uniform, hann = _inference(), _inference(window="hann")
    for inference in (uniform, hann):
        inference.process_dataset(WSIDataset(patches=overlapping))
    shown = ~np.isnan(uniform.classes_array)
    assert (shown == ~np.isnan(hann.classes_array)).all()
    assert not np.allclose(uniform.classes_array[shown], hann.classes_array[shown])


def test_models_of_several_resolutions_get_a_batch_of_each(
    overlapping: WholeImageGridPatches,
) -> None:
    inference = _inference(model=lambda fine, coarse: (_means(fine) + _means(coarse)) / 2)
    dataset = WSIMultiResDataset(levels_or_mpps=[0, 1], patches=overlapping)
    inference.process_dataset(dataset)
    assert np.nanmax(inference.classes_array) <= 1


def test_maps_are_saved_in_every_form(
    overlapping: WholeImageGridPatches, made_slide: Path, tmp_path: Path
) -> None:
    inference = _inference()
    inference.process_dataset(WSIDataset(patches=overlapping), tmp_path)
    maps = inference.classes_array
    inference.save_classes_array(tmp_path / "all.npz")
    inference.save_class_array(1, tmp_path / "one.npz")
    inference.save_class_png(1, tmp_path / "one.png")
    with np.load(tmp_path / "all.npz") as saved:
        np.testing.assert_array_equal(saved["data"], maps)
    with np.load(tmp_path / "one.npz") as saved:
        np.testing.assert_array_equal(saved["data"], maps[1])
    grey = np.asarray(Image.open(tmp_path / "one.png"))
    assert np.abs(grey.T / 255 - np.nan_to_num(maps[1])).max() <= 0.5 / 255 + 1e-6
    for factor, lossy in ((None, False), (1.0, True)):
        inference.save_class_tif(1, tmp_path / "one.tif", made_slide, factor, lossy)
        with openslide.OpenSlide(tmp_path / "one.tif") as slide:
            assert slide.dimensions == ((1024, 768) if factor else (256, 192))
            assert float(slide.properties["openslide.mpp-x"]) * slide.dimensions[0] == 512
    outputs = sorted(tmp_path.glob("made_*.npz"))
    with np.load(outputs[0]) as saved:
        assert saved["outputs"].shape == (8, 3)
        assert saved["locations"][0].tolist() == list(overlapping.patch_data[0][0])


def test_a_module_is_put_in_evaluation_mode(overlapping: WholeImageGridPatches) -> None:
    class Model(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, images: Any) -> Any:
            assert not self.training
            return _means(images)

    inference = _inference(model=Model(), classifier=torch.nn.Softmax(dim=1), seed=3)
    inference.model.train()  # type: ignore[attr-defined]
    inference.process_dataset(WSIDataset(patches=overlapping))
    sums = inference.classes_array.sum(axis=0)
    assert np.allclose(sums[~np.isnan(sums)], 1, atol=1e-5)
    assert inference.torch_device.type in {"cpu", "cuda"}


def test_many_slides_are_done_one_after_the_other(
    overlapping: WholeImageGridPatches,
) -> None:
    inference = _inference()
    dataset = WSIDataset(patches=overlapping)
    found = [
        inference.classes_array for _ in inference.process_datasets([dataset, dataset])
    ]
    assert len(found) == 2
    np.testing.assert_array_equal(found[0], found[1])


@pytest.mark.parametrize(
    ("model", "says"),
    [
        (lambda images: _means(images)[:1], "for 8 patches"),
        (lambda images: _means(images)[:, :2], "2 classes"),
        (lambda images: _means(images) * float("nan"), "NaN"),
        (lambda images: images.mean(dim=3), "shape"),
        (lambda _: "tumour", "not a tensor"),
    ],
)
def test_a_model_that_answers_otherwise_is_refused(
    overlapping: WholeImageGridPatches, model: Any, says: str
) -> None:
    with pytest.raises(ModelOutputError, match=rf"made\.svs: .*{says}"):
        _inference(model=model).process_dataset(WSIDataset(patches=overlapping))


def test_values_beyond_0_to_1_are_no_image(
    overlapping: WholeImageGridPatches, tmp_path: Path
) -> None:
    inference = _inference(model=lambda images: _means(images) * 2)
    with pytest.raises(ParameterError, match="process_dataset first"):
        inference.save_class_png(0, tmp_path / "one.png")
    inference.process_dataset(WSIDataset(patches=overlapping))
    with pytest.raises(ParameterError, match="Softmax"):
        inference.save_class_png(0, tmp_path / "one.png")
    with pytest.raises(ParameterError, match="3 classes"):
        inference.save_class_array(3, tmp_path / "one.npz")


def test_what_is_no_dataset_of_a_slide_is_refused(
    overlapping: WholeImageGridPatches, made_slide: Path, tmp_path: Path
) -> None:
    with pytest.raises(TypeError, match="WSIDataset"):
        _inference().process_dataset([1, 2])  # type: ignore[arg-type]
    with pytest.raises(OutputError, match="save_outputs_dir"):
        _inference().process_dataset(WSIDataset(patches=overlapping), tmp_path / "none")
    empty = PatchesMock(patch_data=[], wsi_file=str(made_slide), level_or_mpp=0)
    with pytest.raises(ParameterError, match="no patches"):
        _inference().process_dataset(WSIDataset(patches=empty))
    with pytest.raises(ParameterError, match="2 slides"):
        _inference().process_dataset(WSIDataset(patches=[overlapping, overlapping]))

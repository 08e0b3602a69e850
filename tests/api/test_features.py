from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import zarr

from dplabtools.errors import (
    FolderInUseError,
    InvalidLocationError,
    MergeError,
    MissingMppError,
    ModelOutputError,
    NotEnoughMemoryError,
    OtherFeaturesError,
    OutputError,
    ParameterError,
    ParameterTypeError,
    ResolutionError,
    SlideReadError,
    WorkerError,
)
from dplabtools.extraction.progress import Progress
from dplabtools.output.run_folder.lock import FolderLock
from dplabtools.pipeline import merge_shards
from dplabtools.slides import GenericSlide
from dplabtools.slides.patches import (
    DiskPatchExtractorPool,
    PatchesMock,
    open_patches,
    read_locations,
    save_locations,
)
from dplabtools.testing.distant_engine import DistantEngine
from dplabtools.testing.make_slide import make_slide

torch = pytest.importorskip("torch", reason="torch is not installed")

from dplabtools.slides.processing import SlideFeatures, extract_features  # noqa: E402

SIDE = 64
LAYOUTS = ("trident", "clam", "stamp", "zarr")


def means(images: Any) -> Any:
    """Encode by colour: (n, 3) from 0 to 1."""
    return images.mean(dim=(2, 3))


class Colours(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Encodes by colour, with a weight for each."""

    def __init__(self, weight: float = 1.0) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.full((3,), weight))

    def forward(self, images: Any) -> Any:
        return images.mean(dim=(2, 3)) * self.weight


class Tokens(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Encodes to a class token, a register, and two tokens of the image."""

    num_prefix_tokens = 2

    def forward(self, images: Any) -> Any:
        colour = images.mean(dim=(2, 3))
        return torch.stack([colour + k for k in (0, 100, 1, 3)], dim=1)


def make_colours(weight: float = 1.0) -> Colours:
    return Colours(weight)


def make_noise() -> Any:
    return torch.nn.Sequential(
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2)
    )


def make_nothing() -> None:
    return None


def placed(slide: Path, *, count: int = 20, level_or_mpp: float = 0) -> PatchesMock:
    corners = [(x, y) for y in range(0, 700, SIDE) for x in range(0, 1000, SIDE)][:count]
    return PatchesMock(
        patch_data=[
            (corner, (SIDE, SIDE), "ab"[corner[0] % 128 // 64]) for corner in corners
        ],
        wsi_file=slide,
        level_or_mpp=level_or_mpp,
    )


def features(out: Path, patches: Any, **changes: Any) -> list[SlideFeatures]:
    given: dict[str, Any] = {
        "patches_pool": patches,
        "encoder": means,
        "output_dir": out,
        "batch_size": 8,
        "device": "cpu",
        **changes,
    }
    return extract_features(**given)


def by_hand(patches: PatchesMock) -> Any:
    with GenericSlide(wsi_file=patches.wsi_file) as slide:
        return np.array(
            [
                np.asarray(slide.get_region(corner, 0, size)).mean(axis=(0, 1)) / 255
                for corner, size, _ in patches.patch_data
            ]
        )


def contents(folder: Path) -> dict[Any, Any]:
    """Return all that files say, but for the folder they are in."""
    found: dict[Any, Any] = {}
    for file in sorted(folder.rglob("*")):
        if file.suffix == ".h5":
            with h5py.File(file) as opened:
                found[file.name, "attributes"] = dict(opened.attrs)
                for name, data in opened.items():
                    own = {
                        key: each for key, each in data.attrs.items() if key != "savetodir"
                    }
                    found[file.name, name] = (data.dtype, data[:].tolist(), own)
        elif file.is_file():
            found[str(file.relative_to(folder))] = file.read_bytes()
    return found


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("two")
    return [
        make_slide(folder / f"{name}.svs", size=(1024, 768), seed=seed)
        for seed, name in enumerate("ab")
    ]


def test_features_are_those_of_the_patches_in_their_order(
    two: list[Path], tmp_path: Path
) -> None:
    pool = [placed(two[0], count=21), placed(two[1], count=3)]
    results = features(tmp_path, pool)
    for patches, result in zip(pool, results, strict=True):
        assert result.file is not None
        with h5py.File(result.file) as file:
            assert file["coords"][:].tolist() == [
                list(corner) for corner, _, _ in patches.patch_data
            ]
            assert np.abs(file["features"][:] - by_hand(patches)).max() < 1e-5
    assert [each.status for each in results] == ["written", "written"]
    assert [each.patches for each in results] == [21, 3]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a.h5", "b.h5"]


def test_a_slide_without_patches_has_no_file(two: list[Path], tmp_path: Path) -> None:
    results = features(tmp_path, [placed(two[0], count=0), placed(two[1])])
    assert [(each.status, each.file) for each in results] == [
        ("empty", None),
        ("written", tmp_path / "b.h5"),
    ]


# -- what readers of the field read ------------------------------------------------------


def test_trident_reads_features_and_coordinates(two: list[Path], tmp_path: Path) -> None:
    patches = placed(two[0])
    features(tmp_path, [patches], encoder_name="colours")
    with h5py.File(tmp_path / "a.h5", "r") as file:  # as its slide encoders do
        coords = file["coords"][:]
        values = torch.from_numpy(file["features"][:]).float()
        attributes = dict(file["coords"].attrs)
        of_features = dict(file["features"].attrs)
    assert values.shape == (20, 3)
    assert coords.dtype == np.int64
    assert attributes["patch_size_level0"] == SIDE
    assert {
        "patch_size": SIDE,
        "level0_magnification": 20,
        "target_magnification": 20,
        "overlap": 0,
        "level0_width": 1024,
        "level0_height": 768,
        "name": "a",
        "savetodir": str(tmp_path),
    }.items() <= attributes.items()
    assert of_features == {"encoder": "colours", "name": "a", "savetodir": str(tmp_path)}


def test_coordinates_of_features_are_read_back_as_those_of_trident(
    two: list[Path], tmp_path: Path
) -> None:
    patches = placed(two[0], level_or_mpp=1)
    features(tmp_path, [patches])
    again = read_locations(file=tmp_path / "a.h5", file_format="trident", wsi_file=two[0])
    assert again.level_or_mpp == 1
    assert [row[:2] for row in again.patch_data] == [row[:2] for row in patches.patch_data]


def test_clam_reads_both_of_its_files(two: list[Path], tmp_path: Path) -> None:
    patches = placed(two[0])
    features(tmp_path, [patches], layout="clam")
    bag = torch.load(tmp_path / "pt_files" / "a.pt")  # as its datasets do
    with h5py.File(tmp_path / "h5_files" / "a.h5", "r") as file:
        values, coords = file["features"][:], file["coords"][:]
    assert torch.equal(bag, torch.from_numpy(values))
    assert bag.dtype == torch.float32
    assert bag.shape == (20, 3)
    assert coords.shape == (20, 2)


def test_stamp_reads_features_and_microns(two: list[Path], tmp_path: Path) -> None:
    patches = placed(two[0], level_or_mpp=1)
    features(tmp_path, [patches], layout="stamp", encoder_name="colours")
    with h5py.File(tmp_path / "a.h5", "r") as file:
        values, coords, attributes = file["feats"][:], file["coords"][:], dict(file.attrs)
    assert values.dtype == np.float16
    assert np.abs(values - by_hand_at(patches, level=1)).max() < 1e-2
    microns = [[x * 0.5, y * 0.5] for (x, y), _, _ in patches.patch_data]
    assert coords.tolist() == microns
    assert attributes["unit"] == "um"
    assert attributes["tile_size_um"] == pytest.approx(SIDE * 1.0)
    assert attributes["tile_size_px"] == SIDE
    assert attributes["feat_type"] == "tile"
    assert attributes["extractor"] == "colours"
    assert attributes["stamp_version"] == "2.1.0"
    assert len(attributes["code_hash"]) == 8
    assert "encoder" not in attributes  # STAMP would take it for features of slides


def by_hand_at(patches: PatchesMock, *, level: int) -> Any:
    with GenericSlide(wsi_file=patches.wsi_file) as slide:
        return np.array(
            [
                np.asarray(slide.get_region(corner, level, size)).mean(axis=(0, 1)) / 255
                for corner, size, _ in patches.patch_data
            ]
        )


def test_zarr_reads_features_and_coordinates(two: list[Path], tmp_path: Path) -> None:
    patches = placed(two[0])
    features(tmp_path, [patches], layout="zarr", encoder_name="colours")
    group = zarr.open_group(tmp_path / "a.zarr", mode="r")
    assert group.metadata.zarr_format == 3
    assert np.abs(np.asarray(group["features"]) - by_hand(patches)).max() < 1e-5
    assert np.asarray(group["coords"]).tolist() == [
        list(corner) for corner, _, _ in patches.patch_data
    ]
    assert group.attrs["encoder"] == "colours"
    assert group.attrs["mpp"] == 0.5
    assert group.attrs["patch_size_level0"] == SIDE


def test_stamp_takes_no_slide_without_mpp(tmp_path: Path) -> None:
    slide = make_slide(tmp_path / "no-mpp.svs", size=(512, 384), mpp=None)
    with pytest.raises(MissingMppError, match=r"no-mpp\.svs.*set_external_mpp"):
        features(tmp_path, [placed(slide, count=2)], layout="stamp")
    features(tmp_path, [placed(slide, count=2)])


def test_features_that_stamp_cannot_hold_are_refused(
    two: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(ModelOutputError, match=r"a\.svs.*65,504"):
        features(
            tmp_path,
            [placed(two[0])],
            layout="stamp",
            encoder=lambda images: means(images) * 1e6,
        )
    assert list(tmp_path.iterdir()) == []


# -- the encoder -------------------------------------------------------------------------


def stored(file: Path) -> Any:
    with h5py.File(file) as opened:
        return opened["features"][:]


def test_images_are_resized_and_normalised_as_the_encoder_says(
    two: list[Path], tmp_path: Path
) -> None:
    seen: list[Any] = []

    class Encoder(Colours):
        input_size = (3, 32, 32)
        mean = (0.5, 0.25, 0.0)
        std = (0.5, 1.0, 2.0)
        name = "stated"

        def forward(self, images: Any) -> Any:
            seen.append(images.shape)
            return super().forward(images)

    patches = placed(two[0])
    features(tmp_path, [patches], encoder=Encoder())
    assert {tuple(shape[1:]) for shape in seen} == {(3, 32, 32)}
    wanted = (by_hand(patches) - [0.5, 0.25, 0.0]) / [0.5, 1.0, 2.0]
    assert np.abs(stored(tmp_path / "a.h5") - wanted).max() < 5e-3
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["features"].attrs["encoder"] == "stated"


def test_what_is_given_counts_more_than_what_the_encoder_states(
    two: list[Path], tmp_path: Path
) -> None:
    encoder = Colours()
    encoder.pretrained_cfg = {  # as models of timm have it
        "architecture": "vit_tiny",
        "input_size": (3, 32, 32),
        "mean": (0.5, 0.5, 0.5),
        "std": (0.5, 0.5, 0.5),
    }
    patches = placed(two[0])
    features(tmp_path, [patches], encoder=encoder, mean=(0, 0, 0), input_size=SIDE)
    assert np.abs(stored(tmp_path / "a.h5") - by_hand(patches) * 2).max() < 1e-5
    with h5py.File(tmp_path / "a.h5") as file:
        assert file["features"].attrs["encoder"] == "vit_tiny"


@pytest.mark.parametrize(
    ("pooling", "added"), [("cls", [0]), ("mean", [2]), ("cls+mean", [0, 2])]
)
def test_tokens_are_pooled(
    two: list[Path], tmp_path: Path, pooling: str, added: list[float]
) -> None:
    patches = placed(two[0])
    features(tmp_path, [patches], encoder=Tokens(), pooling=pooling)
    wanted = np.concatenate([by_hand(patches) + each for each in added], axis=1)
    assert np.abs(stored(tmp_path / "a.h5") - wanted).max() < 1e-5


def test_maps_are_averaged(two: list[Path], tmp_path: Path) -> None:
    patches = placed(two[0])
    features(tmp_path, [patches], encoder=lambda images: images, pooling="mean")
    assert np.abs(stored(tmp_path / "a.h5") - by_hand(patches)).max() < 1e-5


@pytest.mark.parametrize("half", [False, True])
def test_an_encoder_of_16_bits_computes_in_them(
    two: list[Path], tmp_path: Path, *, half: bool
) -> None:
    seen: list[Any] = []

    class Encoder(torch.nn.Linear):  # type: ignore[misc, name-defined]
        def forward(self, images: Any) -> Any:
            result = super().forward(images.mean(dim=(2, 3)))
            seen.append(result.dtype)
            return result

    encoder = Encoder(3, 3)
    features(
        tmp_path,
        [placed(two[0])],
        encoder=encoder.bfloat16() if half else encoder,
        precision=None if half else "bfloat16",
    )
    assert set(seen) == {torch.bfloat16}
    assert stored(tmp_path / "a.h5").dtype == np.float32


def test_patches_at_another_mpp_than_the_encoder_is_made_for_are_refused(
    two: list[Path], tmp_path: Path
) -> None:
    with pytest.raises(ResolutionError, match=r"a\.svs.*have 1 microns.*made for 0\.5"):
        features(tmp_path, [placed(two[0], level_or_mpp=1)], encoder_mpp=0.5)
    with pytest.raises(ParameterError, match=r"place them at 0\.5, or give encoder_mpp=1"):
        features(tmp_path, [placed(two[0], level_or_mpp=1.0)], encoder_mpp=0.5)
    results = features(
        tmp_path,
        [placed(two[0], level_or_mpp=1), placed(two[1])],
        encoder_mpp=0.52,
        on_error="skip",
    )
    assert [each.status for each in results] == ["failed", "written"]


def test_a_factory_makes_the_encoder(
    two: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    patches = placed(two[0])
    features(
        tmp_path,
        [patches],
        encoder="test_features:make_colours",
        encoder_args={"weight": 2.0},
    )
    assert np.abs(stored(tmp_path / "a.h5") - by_hand(patches) * 2).max() < 1e-5


@pytest.mark.parametrize(
    ("encoder", "message"),
    [
        ("nothing", "package.module:factory"),
        ("nowhere:make", "No module named 'nowhere'"),
        ("test_features:absent", "has no attribute 'absent'"),
        ("test_features:make_nothing", "not None"),
        (3, "not 3"),
    ],
)
def test_an_encoder_that_is_none_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: Any, message: str
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    with pytest.raises((ParameterError, ParameterTypeError), match=message):
        features(tmp_path, [], encoder=encoder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layout": "csv"}, "layout must be"),
        ({"device": "abacus"}, "device must be like"),
        ({"device": "cuda:99"}, "GPUs here"),
        ({"precision": "int8"}, "precision must be one of"),
        ({"pooling": "max"}, "pooling must be one of"),
        ({"mean": (1, 2)}, "mean must be three numbers"),
        ({"std": (1, 0, 1)}, "std must be positive"),
        ({"input_size": (32, 64)}, "edge of a square"),
        ({"encoder_mpp": -1.0}, "encoder_mpp must be"),
        ({"encoder_args": {"weight": 1}}, "encoder_args are for a factory"),
        ({"resampling_mode": "all"}, "resampling_mode"),
        ({"batch_size": 0}, "batch_size"),
    ],
)
def test_arguments_that_make_no_sense_are_named(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ParameterError, match=message):
        features(tmp_path, [], **changes)


# -- what an encoder must not return -----------------------------------------------------


def fails(_: Any) -> Any:
    message = "mat1 and mat2 do not fit"
    raise RuntimeError(message)


def out_of_memory(_: Any) -> Any:
    raise torch.cuda.OutOfMemoryError


WRONG: dict[str, tuple[Any, str]] = {
    "another number of rows": (
        lambda images: means(images)[1:],
        r"returned shape \(7, 3\) for 8 patches",
    ),
    "tokens": (Tokens(), r"shape \(8, 4, 3\).*pooling='cls'"),
    "one number": (lambda images: images.sum(), r"returned shape \(\)"),
    "maps": (lambda images: images, r"shape \(8, 3, 64, 64\)"),
    "a tuple": (lambda images: (means(images),), "returned tuple, no tensor; wrap it"),
    "nothing but NaN": (lambda images: means(images) * torch.nan, "NaN.*precision"),
    "its failure": (fails, "failed at 8 patches of 64 x 64.*mat1 and mat2"),
    "another width": (
        lambda images: means(images)[:, : 1 + len(images) % 2],
        "returned 2 features for a patch, and 1 for those before",
    ),
}


@pytest.mark.parametrize("what", WRONG)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_what_an_encoder_must_not_return_is_named_and_nothing_is_written(
    two: list[Path], tmp_path: Path, what: str, layout: str
) -> None:
    encoder, message = WRONG[what]
    with pytest.raises(ModelOutputError, match=rf"a\.svs.*{message}"):
        features(tmp_path, [placed(two[0], count=21)], encoder=encoder, layout=layout)
    assert [each for each in tmp_path.rglob("*") if each.is_file()] == []


def test_a_device_with_too_little_memory_is_named(two: list[Path], tmp_path: Path) -> None:
    with pytest.raises(NotEnoughMemoryError, match=r"a\.svs.*lower batch_size"):
        features(tmp_path, [placed(two[0])], encoder=out_of_memory)


def test_a_slide_whose_features_are_nan_is_skipped(two: list[Path], tmp_path: Path) -> None:
    def encoder(images: Any) -> Any:
        return means(images) * (torch.nan if len(images) == 4 else 1)

    results = features(
        tmp_path,
        [placed(two[0], count=20), placed(two[1], count=16)],
        encoder=encoder,
        batch_size=16,  # 16, then the last 4 of the first slide with 12 of the second; 4
        on_error="skip",
    )
    assert [each.status for each in results] == ["written", "failed"]
    assert [len(each.errors) for each in results] == [0, 1]
    assert [each.name for each in tmp_path.iterdir()] == ["a.h5"]


# -- slides that fail --------------------------------------------------------------------


def test_patches_that_cannot_be_read_are_left_out_and_told(
    damaged_slide: Path, made_slide: Path, tmp_path: Path
) -> None:
    pool = [placed(damaged_slide, count=100), placed(made_slide, count=9)]
    with pytest.raises(SlideReadError, match=r"damaged\.svs"):
        features(tmp_path, pool)
    first, second = features(tmp_path, pool, on_error="skip")
    assert first.missing == len(first.errors) > 0
    assert first.patches == 100 - first.missing
    assert (second.status, second.errors) == ("written", ())
    lost = {each.row for each in first.errors}
    kept = [
        list(corner)
        for row, (corner, _, _) in enumerate(pool[0].patch_data)
        if row not in lost
    ]
    with h5py.File(tmp_path / "damaged.h5") as file:
        assert file["coords"][:].tolist() == kept
    again, _ = features(tmp_path, pool, on_error="skip")
    assert (again.status, again.missing) == ("kept", first.missing)


def test_a_slide_that_cannot_be_opened_is_skipped(two: list[Path], tmp_path: Path) -> None:
    broken = tmp_path / "broken.svs"
    broken.write_bytes(b"not a slide")
    out = tmp_path / "out"
    out.mkdir()
    results = features(out, [placed(broken), placed(two[0])], on_error="skip")
    assert [each.status for each in results] == ["failed", "written"]
    assert "broken.svs" in str(results[0].errors[0])


def test_patches_that_are_no_squares_are_refused(two: list[Path], tmp_path: Path) -> None:
    oblong = PatchesMock(
        patch_data=[((0, 0), (64, 32), "")], wsi_file=two[0], level_or_mpp=0
    )
    with pytest.raises(InvalidLocationError, match=r"a\.svs.*squares"):
        features(tmp_path, [oblong])


def test_two_slides_of_one_name_are_refused(two: list[Path], tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    other = make_slide(tmp_path / "other" / "A.svs", size=(512, 384))
    with pytest.raises(OutputError, match="would have the same file"):
        features(tmp_path, [placed(two[0]), placed(other, count=2)])


# -- a run that is begun again -----------------------------------------------------------


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_slide_that_is_there_is_not_encoded_again(
    two: list[Path], tmp_path: Path, layout: str
) -> None:
    counted: list[int] = []

    class Counting(Colours):
        def forward(self, images: Any) -> Any:
            counted.append(len(images))
            return super().forward(images)

    one = features(tmp_path, [placed(two[0])], encoder=Counting(), layout=layout)
    assert sum(counted) == 20
    before = contents(tmp_path)
    results = features(
        tmp_path,
        [placed(two[0]), placed(two[1], count=5)],
        encoder=Counting(),
        layout=layout,
    )
    assert sum(counted) == 25
    assert [each.status for each in results] == ["kept", "written"]
    assert results[0].file == one[0].file
    assert results[0].patches == 20
    assert before.items() <= contents(tmp_path).items()


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"encoder": Colours(2.0)}, "encoder_sha256"),
        ({"encoder_name": "other"}, "encoder: 'Colours' -> 'other'"),
        ({"pooling": "mean"}, "pooling: None -> 'mean'"),
        ({"input_size": 32}, "input_size: None -> 32"),
        ({"mean": (0.5, 0.5, 0.5)}, "mean: "),
        ({"precision": "bfloat16"}, "precision: 'float32' -> 'bfloat16'"),
        ({"layout": "stamp"}, "layout: 'trident' -> 'stamp'"),
        ({"transform": np.invert}, "transform: None -> "),
        ({"included_labels": ["a"]}, "patches count: 20 -> "),
    ],
)
def test_a_file_of_something_else_is_refused(
    two: list[Path],
    tmp_path: Path,
    changes: dict[str, Any],
    named: str,
) -> None:
    features(tmp_path, [placed(two[0])], encoder=Colours())
    before = contents(tmp_path)
    with pytest.raises(OtherFeaturesError, match=r"a\.svs.*another folder") as caught:
        features(tmp_path, [placed(two[0])], **{"encoder": Colours(), **changes})
    assert named in str(caught.value)
    assert contents(tmp_path) == before


def test_a_file_of_other_patches_or_of_another_slide_is_refused(tmp_path: Path) -> None:
    slide = make_slide(tmp_path / "s.svs", size=(1024, 768), seed=1)
    features(tmp_path, [placed(slide)])
    moved = PatchesMock(
        patch_data=[
            ((x + 1, y), size, label) for (x, y), size, label in placed(slide).patch_data
        ],
        wsi_file=slide,
        level_or_mpp=0,
    )
    with pytest.raises(OtherFeaturesError, match=r"s\.svs.*patches sha256"):
        features(tmp_path, [moved])
    make_slide(slide, size=(1024, 768), seed=2)
    with pytest.raises(OtherFeaturesError, match=r"s\.svs.*slide edges_sha256"):
        features(tmp_path, [placed(slide)])


@pytest.mark.parametrize("data", [b"", b"no HDF5", None])
def test_a_file_that_somebody_else_has_written_is_refused(
    two: list[Path], tmp_path: Path, data: bytes | None
) -> None:
    if data is None:
        save_locations(
            patches=placed(two[0]), path=tmp_path / "a.h5", file_format="trident"
        )
    else:
        (tmp_path / "a.h5").write_bytes(data)
    before = (tmp_path / "a.h5").read_bytes()
    with pytest.raises(OtherFeaturesError, match=r"a\.svs.*is no file of features"):
        features(tmp_path, [placed(two[0])])
    assert (tmp_path / "a.h5").read_bytes() == before


@pytest.mark.parametrize(
    ("layout", "left"),
    [
        ("trident", ".a.h5.123.part"),
        ("clam", "h5_files/.a.h5.123.part"),
        ("clam", "pt_files/.a.pt.123.part"),
        ("zarr", ".a.zarr.123.part/zarr.json"),
    ],
)
def test_what_a_killed_run_left_half_written_goes(
    two: list[Path], tmp_path: Path, layout: str, left: str
) -> None:
    (tmp_path / left).parent.mkdir(exist_ok=True)
    (tmp_path / left).write_bytes(b"half")
    features(tmp_path, [placed(two[0])], layout=layout)
    assert not list(tmp_path.rglob("*.part"))


def test_a_folder_in_use_is_refused(two: list[Path], tmp_path: Path) -> None:
    lock = FolderLock(tmp_path)
    lock.acquire()
    with pytest.raises(FolderInUseError):
        features(tmp_path, [placed(two[0])])
    lock.release()


def test_a_folder_that_is_none_is_refused(two: list[Path], tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="is no folder; make it first"):
        features(tmp_path / "absent", [placed(two[0])])


# -- patches on disk ---------------------------------------------------------------------


def test_stored_patches_give_the_same_features(two: list[Path], tmp_path: Path) -> None:
    pool = [placed(two[0], count=21), placed(two[1], count=3)]
    run = tmp_path / "run"
    run.mkdir()
    DiskPatchExtractorPool(
        output_dir=run,
        image_type="png",
        patches_pool=pool,
        proc_num_workers=1,
        thread_num_workers=1,
    )
    out = [tmp_path / name for name in ("slides", "stored")]
    for folder, given in zip(out, (pool, open_patches(run)), strict=True):
        folder.mkdir()
        features(folder, given)
    for name in ("a.h5", "b.h5"):
        with h5py.File(out[0] / name) as one, h5py.File(out[1] / name) as other:
            assert np.array_equal(one["features"][:], other["features"][:])
            assert np.array_equal(one["coords"][:], other["coords"][:])
    chosen = tmp_path / "chosen"
    chosen.mkdir()
    results = features(chosen, open_patches(run), included_labels=["a"])
    assert [each.patches for each in results] == [11, 2]
    lost = next(run.glob("a_*_x0_y0*"))
    lost.unlink()
    left = tmp_path / "left"
    left.mkdir()
    results = features(left, open_patches(run), on_error="skip")
    assert [(each.patches, each.missing) for each in results] == [(20, 1), (3, 0)]
    with pytest.raises(ParameterError, match="stored patches are as they are"):
        features(tmp_path, open_patches(run), resampling_mode="tile")


# -- several devices, and progress -------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("encoder", ["object", "factory"])
def test_several_devices_write_what_one_does(
    two: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    given: Any = (
        "test_features:make_colours" if encoder == "factory" else torch.nn.Flatten()
    )
    pool = [placed(two[0]), placed(two[1], count=5)]
    folders = [tmp_path / name for name in ("one", "two")]
    for folder, device in zip(folders, ("cpu", "cpu,cpu"), strict=True):
        folder.mkdir()
        results = features(folder, pool, encoder=given, device=device, proc_num_workers=1)
        assert [each.status for each in results] == ["written", "written"]
    assert contents(folders[0]) == contents(folders[1])
    assert len(contents(folders[0])) == 6


@pytest.mark.slow
def test_patches_are_read_where_the_caller_says(two: list[Path], tmp_path: Path) -> None:
    pool = [placed(two[0]), placed(two[1], count=5)]
    jobs: list[object] = []

    class Engine(DistantEngine):
        def submit(self, index: int, job: object, *, lane: int | None = None) -> None:
            jobs.append(job)
            super().submit(index, job, lane=lane)

    folders = [tmp_path / name for name in ("here", "there")]
    with Engine(workers=2) as engine:
        for folder, place in zip(folders, ("serial", engine), strict=True):
            folder.mkdir()
            features(folder, pool, engine=place)
    assert len(jobs) > len(pool)
    assert contents(folders[0]) == contents(folders[1])


def test_an_engine_of_this_process_is_for_one_device(
    two: list[Path], tmp_path: Path
) -> None:
    pool = [placed(two[0]), placed(two[1])]
    engine = DistantEngine(workers=2)
    with pytest.raises(ParameterError, match=r"serves one device, not 2.*its name"):
        features(tmp_path, pool, encoder=Colours(), device="cpu,cpu", engine=engine)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_errors_on_several_devices_end_them_all(two: list[Path], tmp_path: Path) -> None:
    pool = [placed(two[0]), placed(two[1])]
    with pytest.raises(ModelOutputError, match=r"[ab]\.svs.*pooling="):
        features(tmp_path, pool, encoder=torch.nn.Identity(), device="cpu,cpu")
    assert multiprocessing.active_children() == []
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ParameterError, match=r"cannot be sent.*name a factory"):
        features(tmp_path, pool, encoder=lambda images: images, device="cpu,cpu")


@pytest.mark.slow
def test_a_device_whose_process_dies_is_named(
    two: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    with pytest.raises(WorkerError, match=r"process for cpu died.*run it again"):
        features(
            tmp_path, [placed(two[0]), placed(two[1])], encoder=Dying(), device="cpu,cpu"
        )


@pytest.mark.slow
def test_a_factory_that_makes_another_encoder_each_time_is_refused(
    two: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    with pytest.raises(ParameterError, match="another each time it is made"):
        features(
            tmp_path,
            [placed(two[0]), placed(two[1])],
            encoder="test_features:make_noise",
            device="cpu,cpu",
        )


def test_progress_tells_how_long_the_model_waited(two: list[Path], tmp_path: Path) -> None:
    told: list[Progress] = []
    features(tmp_path, [placed(two[0]), placed(two[1])], progress=told.append)
    last = told[-1]
    assert (last.done, last.total) == (40, 40)
    assert (last.slides_done, last.slides_total) == (2, 2)
    assert last.waiting is not None
    assert 0 < last.waiting < 1
    assert f"the model waits {last.waiting:.0%}" in str(last)


def test_files_say_what_they_are_made_of(two: list[Path], tmp_path: Path) -> None:
    features(tmp_path, [placed(two[0])], encoder=Colours())
    with h5py.File(tmp_path / "a.h5") as file:
        fingerprint = json.loads(file.attrs["dplabtools_fingerprint"])
        assert file.attrs["dplabtools_missing"] == 0
    assert fingerprint["parameters"]["encoder"] == "Colours"
    assert len(fingerprint["parameters"]["encoder_sha256"]) == 64
    assert fingerprint["slide"]["name"] == "a.svs"


class Dying(torch.nn.Module):  # type: ignore[misc, name-defined]
    """Ends its process."""

    def forward(self, images: Any) -> Any:
        os._exit(3)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_jobs_share_slides_and_what_they_wrote_is_joined(
    two: list[Path], tmp_path: Path, layout: str
) -> None:
    patches = [placed(slide) for slide in two]
    for name in ("one", "many"):
        (tmp_path / name).mkdir()
    features(tmp_path / "one", patches, layout=layout)
    found = [
        features(tmp_path / "many", patches, layout=layout, shard=(number, 2))
        for number in (1, 2)
    ]
    assert [[Path(each.wsi_file).name for each in job] for job in found] == [
        ["a.svs"],
        ["b.svs"],
    ]
    merged = merge_shards(tmp_path / "many", tmp_path / "many")
    assert (merged.kind, merged.failed) == ("features", {})
    one, many = (
        {
            str(file.relative_to(tmp_path / name)): file
            for file in (tmp_path / name).rglob("*")
            if file.is_file() and "shard-" not in str(file)
        }
        for name in ("one", "many")
    )
    assert many.keys() == one.keys()
    for name, file in one.items():
        if file.suffix != ".h5":  # HDF5 files hold the path of their folder
            assert many[name].read_bytes() == file.read_bytes()
            continue
        with h5py.File(file) as here, h5py.File(many[name]) as there:
            assert there.keys() == here.keys()
            assert all(np.array_equal(there[key], here[key]) for key in here)


def test_jobs_share_stored_patches(two: list[Path], tmp_path: Path) -> None:
    patches = [placed(slide) for slide in two]
    DiskPatchExtractorPool(
        output_dir=tmp_path,
        image_type="png",
        patches_pool=patches,
        proc_num_workers=1,
        thread_num_workers=1,
    )
    (tmp_path / "o").mkdir()
    for number in (1, 2):
        features(tmp_path / "o", open_patches(tmp_path), shard=(number, 2))
    merge_shards(tmp_path / "o", tmp_path / "all")
    assert sorted(file.name for file in (tmp_path / "all").glob("*.h5")) == ["a.h5", "b.h5"]


def test_a_file_of_features_that_is_gone_is_named(two: list[Path], tmp_path: Path) -> None:
    for number in (1, 2):
        features(tmp_path, [placed(slide) for slide in two], shard=(number, 2))
    (tmp_path / "shard-2-of-2" / "b.h5").unlink()
    with pytest.raises(MergeError, match=r"b\.h5 is missing"):
        merge_shards(tmp_path, tmp_path / "all")


def test_jobs_refuse_slides_of_one_name(two: list[Path], tmp_path: Path) -> None:
    twins = [placed(two[0]), placed(tmp_path / "a.svs")]
    with pytest.raises(OutputError, match="would have the same file of features"):
        features(tmp_path, twins, shard=(1, 2))

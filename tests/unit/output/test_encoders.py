"""Files of every format, read back by programs that know nothing of each other."""

from __future__ import annotations

import io
import pickle
import struct
import subprocess
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import openslide
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from dplabtools._typing import Pixels
from dplabtools.errors import OutputFormatError
from dplabtools.output.codecs.encoder import ImageEncoder
from dplabtools.output.codecs.jpeg import tagged
from dplabtools.output.codecs.tags import Tags
from dplabtools.testing.tissue import paint_tissue

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
LOSSLESS: list[tuple[str, dict[str, Any]]] = [
    ("png", {}),
    ("PNG", {}),
    *(("png", {"compress_level": level}) for level in (0, 2, 6, 9)),
    ("png", {"optimize": True}),
    ("apng", {}),
    ("tif", {}),
    ("TIFF", {}),
    ("tiff", {"compression": "tiff_lzw"}),
    ("bmp", {}),
    ("qoi", {}),
    ("jxl", {}),
    ("jxl", {"effort": 2}),
    ("webp", {"lossless": True}),
    ("jp2", {}),
    ("ppm", {}),
    ("tga", {}),
]
OPENCV = ("jpg", "png", "apng", "tif", "tiff", "bmp", "webp", "jp2", "ppm")
IMAGECODECS = {
    "png": imagecodecs.png_decode,
    "bmp": imagecodecs.bmp_decode,
    "qoi": imagecodecs.qoi_decode,
    "jxl": imagecodecs.jpegxl_decode,
    "webp": imagecodecs.webp_decode,
}


def encoder(image_type: str, **options: Any) -> ImageEncoder:
    return ImageEncoder(image_type=image_type, options=options)


def decoded(data: bytes, image_type: str) -> list[Pixels]:
    """Return what all programs make of a file."""
    kind = image_type.lower()
    found: list[Any] = []
    if kind != "jxl":
        with Image.open(io.BytesIO(data)) as image:
            assert image.mode == "RGB"
            found.append(np.asarray(image))
    if kind in OPENCV:
        picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
        assert picture is not None
        found.append(picture[..., ::-1])
    if kind in IMAGECODECS:
        found.append(IMAGECODECS[kind](data)[..., :3])
    if kind.startswith("tif"):
        found.append(tifffile.imread(io.BytesIO(data)))
    return found


@pytest.fixture(scope="module")
def tissue() -> Pixels:
    return np.ascontiguousarray(paint_tissue((256, 256), seed=3)[..., :3])


@pytest.mark.parametrize(("image_type", "options"), LOSSLESS)
def test_lossless_formats_give_the_pixels_back(
    image_type: str, options: dict[str, Any], tissue: Pixels
) -> None:
    made = encoder(image_type, **options).tagged(mpp=0.25, icc=PROFILE)
    for pixels in (tissue, tissue[:50, :31], tissue[::2, ::3], np.zeros((9, 8, 3), "u1")):
        found = decoded(made.encode(pixels), image_type)
        assert found
        for each in found:
            np.testing.assert_array_equal(each, pixels)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 255), st.integers(0, 9))
def test_png_of_any_shape_and_noise(width: int, height: int, noise: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    pixels = rng.integers(0, noise + 1, (height, width, 3), dtype=np.uint8)
    for each in decoded(encoder("png").encode(pixels), "png"):
        np.testing.assert_array_equal(each, pixels)


def test_chunks_of_a_png_are_in_order_and_have_their_checksums(tissue: Pixels) -> None:
    data = encoder("png").tagged(mpp=0.5, icc=PROFILE).encode(tissue)
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    names, place = [], 8
    while place < len(data):
        length, name = struct.unpack_from(">I4s", data, place)
        content = data[place + 8 : place + 8 + length]
        (checksum,) = struct.unpack_from(">I", data, place + 8 + length)
        assert checksum == zlib.crc32(name + content)
        if name == b"IDAT":
            assert len(zlib.decompress(content)) == 256 * 769  # which checks Adler-32
        names.append(name)
        place += 12 + length
    assert names == [b"IHDR", b"iCCP", b"pHYs", b"IDAT", b"IEND"]


@pytest.mark.parametrize("level", range(1, 10))
def test_png_of_tissue_is_hardly_larger_than_pillows(
    level: int, tissue: Pixels, slides_dir: Path
) -> None:
    patches = [tissue]
    for name, places in REAL.items():
        with openslide.OpenSlide(slides_dir / name) as slide:
            patches += [
                np.asarray(slide.read_region(place, 0, (256, 256)))[..., :3]
                for place in places
            ]
    made = encoder("png", compress_level=level)
    ours = sum(len(made.encode(patch)) for patch in patches)
    assert ours <= 1.05 * sum(
        len(saved(patch, "PNG", compress_level=6)) for patch in patches
    )


REAL = {
    "CMU-1-Small-Region.svs": [(500, 700), (900, 1500), (300, 2200)],
    "tcga-cr-7395-01a-01-ts1.svs": [(700, 700), (1500, 900)],
}


def test_a_higher_level_is_not_larger(tissue: Pixels) -> None:
    sizes = [len(encoder("png", compress_level=n).encode(tissue)) for n in (0, 1, 4, 9)]
    assert sizes == sorted(sizes, reverse=True)


def saved(pixels: Pixels, form: str, **options: Any) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format=form, **options)
    return out.getvalue()


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"quality": 90},
        {"quality": 90, "subsampling": 0},
        {"quality": 40, "subsampling": "4:2:2"},
        {"quality": 1, "subsampling": 1},
        {"quality": 100, "subsampling": 2},
    ],
)
def test_jpeg_is_that_of_pillow(options: dict[str, Any], tissue: Pixels) -> None:
    assert encoder("jpg", **options).encode(tissue) == saved(tissue, "JPEG", **options)


@pytest.mark.parametrize("mpp", [0.25, 0.2525, 7.1, 0.1])
@pytest.mark.parametrize(
    ("image_type", "options"),
    [
        ("png", {}),
        ("png", {"optimize": True}),
        ("tif", {}),
        ("tif", {"compression": "tiff_lzw"}),
        ("bmp", {}),
        ("jpg", {}),
        ("jpg", {"progressive": True}),
    ],
)
def test_resolution_is_written(
    image_type: str, options: dict[str, Any], mpp: float, tissue: Pixels
) -> None:
    data = encoder(image_type, **options).tagged(mpp=mpp, icc=None).encode(tissue)
    with Image.open(io.BytesIO(data)) as image:
        dpi = image.info.get("dpi")
    if image_type == "jpg" and mpp < 0.15:  # more dots than JFIF can say
        assert dpi is None
    else:
        assert dpi == pytest.approx((25400 / mpp,) * 2, rel=1e-3)


def test_tiff_readers_see_microns(tissue: Pixels) -> None:
    data = encoder("tif").tagged(mpp=0.2525, icc=PROFILE).encode(tissue)
    with tifffile.TiffFile(io.BytesIO(data)) as tiff:
        page = tiff.pages.first
        assert page.resolutionunit == tifffile.RESUNIT.CENTIMETER
        assert 1e4 / page.resolution[0] == pytest.approx(0.2525, rel=1e-6)
        assert page.tags[34675].value == PROFILE


def test_without_mpp_nothing_is_said_of_it(tissue: Pixels) -> None:
    for image_type in ("png", "jpg"):
        with Image.open(io.BytesIO(encoder(image_type).encode(tissue))) as image:
            assert "dpi" not in image.info
    with tifffile.TiffFile(io.BytesIO(encoder("tif").encode(tissue))) as tiff:
        assert "XResolution" not in tiff.pages.first.tags


@pytest.mark.parametrize("image_type", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("length", [len(PROFILE), 4096, 4097, 300_000])
def test_large_profiles_are_written_if_asked_for(
    image_type: str, length: int, tissue: Pixels
) -> None:
    profile = PROFILE.ljust(length, b"\0")[: max(length, len(PROFILE))]
    found: dict[bool | None, Any] = {}
    for wanted in (None, True, False):
        made = encoder(image_type, icc=wanted).tagged(mpp=0.5, icc=profile)
        with Image.open(io.BytesIO(made.encode(tissue))) as image:
            found[wanted] = image.info.get("icc_profile")
    assert found == {
        None: profile if length <= 4096 else None,
        True: profile,
        False: None,
    }


@pytest.mark.parametrize("rgb", [False, True])
def test_tags_of_a_stored_stream(tissue: Pixels, *, rgb: bool) -> None:
    """RGB streams say so by an Adobe segment, and must not become JFIF."""
    stream = saved(tissue, "JPEG", keep_rgb=rgb, subsampling=0)
    if rgb:
        assert stream[2:4] == b"\xff\xee"
    with Image.open(io.BytesIO(stream)) as image:
        before = np.asarray(image)
    data = tagged(stream, Tags(mpp=0.25, icc=PROFILE))
    with Image.open(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(np.asarray(image), before)
        assert ("jfif" in image.info) is not rgb
        assert image.info["icc_profile"] == PROFILE
        assert image.info["dpi"] == pytest.approx((101600, 101600))
    for each in decoded(data, "jpg"):
        np.testing.assert_array_equal(each, before)


@pytest.mark.parametrize(("image_type", "all_formats"), [("jpg", False), ("webp", True)])
def test_only_what_pillow_alone_knows_takes_all_its_formats(
    image_type: str, *, all_formats: bool
) -> None:
    """To import them takes as long as reading a hundred patches, before any is read."""
    code = (
        "import sys; from dplabtools.output.codecs.encoder import ImageEncoder; "
        f"ImageEncoder(image_type={image_type!r}, options={{}}); "
        f"assert ('PIL.WebPImagePlugin' in sys.modules) is {all_formats}"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_only_who_asks_for_it_gets_stored_streams() -> None:
    assert encoder("jpg", passthrough=True).takes_jpeg
    assert encoder("JPEG", passthrough=True, quality=90).takes_jpeg
    assert not encoder("jpg", passthrough=False).takes_jpeg
    assert not encoder("jpg").takes_jpeg


def test_stored_streams_are_not_encoded_again(tissue: Pixels) -> None:
    stream = saved(tissue, "JPEG", quality=30)
    made = encoder("jpg", passthrough=True, quality=95).encode(stream)
    assert made[-1000:] == stream[-1000:]


@pytest.mark.parametrize(
    ("image_type", "options", "message"),
    [
        ("png", {"quality": 90}, r"'png' has no option 'quality'.*compress_level.*icc"),
        ("jpg", {"compress_level": 1, "x": 2}, r"no option 'compress_level', 'x'.*quality"),
        ("tif", {"passthrough": True}, "passthrough is for JPEG, which.*'tif' is not"),
        ("gif", {"passthrough": True}, "passthrough is for JPEG, which.*'gif' is not"),
        ("png", {"stored_chroma": True}, "stored_chroma is for JPEG, which.*'png' is not"),
        ("jpg", {"stored_chroma": True, "subsampling": 0}, "goes with subsampling 2, not"),
        ("png", {"compress_level": 11}, "compress_level"),
        ("jpg", {"quality": "best"}, "quality"),
        ("jpg", {"passthrough": "yes"}, "passthrough must be True or False"),
        ("jpg", {"icc": "yes"}, "icc must be True, False or None"),
        ("bmp", {"icc": True}, "no place for a colour profile"),
        ("jxl", {"effort": 11}, "effort must be from 1 to 9"),
        ("jxl", {"distance": 20}, "distance must be from 0 to 15"),
        ("jxl", {"distance": "far"}, "not understood"),
        ("xyz", {}, "unknown file extension.*jxl.*png"),
        ("palm", {}, "cannot hold colour"),
    ],
)
def test_what_no_encoder_knows(
    image_type: str, options: Mapping[str, Any], message: str
) -> None:
    with pytest.raises(OutputFormatError, match=message):
        ImageEncoder(image_type=image_type, options=options)


@pytest.mark.parametrize(
    ("image_type", "options", "key", "value"),
    [
        ("jpg", {"progressive": True}, "progressive", 1),
        ("jpg", {"dpi": (72, 72)}, "dpi", (72, 72)),
        ("png", {"dpi": (72, 72)}, "dpi", pytest.approx((72, 72), rel=1e-3)),
        ("tif", {"compression": "tiff_lzw"}, "compression", "tiff_lzw"),
        ("jpg", {"comment": b"mine"}, "comment", b"mine"),
    ],
)
def test_options_of_pillow_still_work(
    image_type: str, options: dict[str, Any], key: str, value: Any, tissue: Pixels
) -> None:
    data = encoder(image_type, **options).tagged(mpp=0.5, icc=None).encode(tissue)
    with Image.open(io.BytesIO(data)) as image:
        assert image.info[key] == value


def test_encoders_travel(tissue: Pixels) -> None:
    made = encoder("jpg", quality=80).tagged(mpp=0.5, icc=PROFILE)
    assert pickle.loads(pickle.dumps(made)).encode(tissue) == made.encode(tissue)


def test_jpeg_xl_may_be_lossy(tissue: Pixels) -> None:
    data = encoder("jxl", distance=1.0).encode(tissue)
    assert len(data) < 0.6 * len(encoder("jxl").encode(tissue))
    difference = imagecodecs.jpegxl_decode(data).astype(int) - tissue
    assert 0 < np.abs(difference).mean() < 6

"""The documented interface, name by name: nothing of it goes, or loses a way to be called.

What is written here is what code of users relies on. It may grow elsewhere; a line that has
to change here breaks such code.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from typing import Any, Final

import pytest

SLIDES = "dplabtools.slides"
PATCHES = "dplabtools.slides.patches"
PROCESSING = "dplabtools.slides.processing"
ANNOTATIONS = "dplabtools.slides.annotations"
UTILS = "dplabtools.slides.utils"


@dataclass(frozen=True, kw_only=True)
class Documented:
    """A documented class.

    Attributes
    ----------
    constructor : str
        Its parameters; an empty list stands for whatever is empty.
    properties : str
        Names of the values it tells.
    methods : mapping
        Parameters of each method, by its name.
    class_methods : mapping
        The same of those that the class itself has.
    attributes : mapping
        Values of the class that can be changed.
    takes_positions : bool
        The constructor does, too.
    """

    constructor: str
    properties: str = ""
    methods: Mapping[str, str] = field(default_factory=dict)
    class_methods: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, object] = field(default_factory=dict)
    takes_positions: bool = False


# -- slides ------------------------------------------------------------------------------

GENERIC_SLIDE = Documented(
    constructor="wsi_file, resampling_mode=None, extra_mpps=[]",
    properties="""
        all_properties external_mpp label_image level_count level_count_extra
        level_dimensions level_dimensions_extra level_downsamples level_images_extra
        level_mpp_values level_mpp_values_extra level_resamples_extra level_zero_resampling
        lib_name magnification mpp_data mpp_level_margin mpp_round_decimal_places
        padding_margin_pixels range_max_magnification range_min_mpp resampling_filter
        slide_file slide_id slide_name slide_object thumbnail_image
    """,
    methods={
        "__enter__": "",
        "__exit__": "exc_type, exc_value, traceback",
        "check_mpp_data": "mpp",
        "check_mpp_range": "mpp",
        "close": "",
        "get_basepatch_mpp": "level_or_mpp",
        "get_property": "name",
        "get_region": "location, level_or_mpp, size, skip_padding=False",
        "get_region_array": "location, level, size",
    },
    class_methods={
        "set_external_mpp": "external_mpp",
        "set_level_zero_resampling": "level_zero_resampling",
        "set_mpp_level_margin": "mpp_level_margin",
        "set_mpp_round_decimal_places": "mpp_round_decimal_places",
        "set_padding_margin_pixels": "padding_margin_pixels",
        "set_range_max_magnification": "range_max_magnification",
        "set_range_min_mpp": "range_min_mpp",
        "set_resampling_filter": "resampling_filter",
    },
)

# -- masks, annotations, and what they are made of ---------------------------------------

SLIDE_MASK: Final[dict[str, Any]] = {
    "properties": "array level",
    "methods": {
        "save_array": "file",
        "save_png": "file",
        "save_overlay_png": (
            "file, mask_color='green', mask_alpha=0.5, outline_color='blue', "
            "outline_thickness=2"
        ),
    },
}
TISSUE_MASK = Documented(
    constructor="""
        wsi_file, level_or_minsize, mode="hsv", color_threshold=0.1,
        remove_small_holes_ratio=0.1, remove_small_objects_ratio=0.1,
        remove_all_holes=False, close_fill_kernel_size=0
    """,
    **SLIDE_MASK,
)
POLYGON_MASK = Documented(
    constructor="wsi_file, level_or_minsize, polygon_data", **SLIDE_MASK
)
HEATMAP = Documented(
    constructor="""
        heatmap_data, wsi_file, overlay=False, background_color="white", color_map="jet",
        alpha=1, vmin=None, vmax=None, cutoff=None
    """,
    methods={
        "save_colorbar_image": "file, interpolation='none', dpi=300",
        "save_image": "file, draw_fn, draw_args",
        "save_tif": "file, downsample_factor=None, allow_compression=True",
    },
)
DATASET: Final = """
    patches, transform_fn=None, resampling_mode=None, extra_mpps=[], zero_workers=False,
    save_patches_dir=None
"""
INFERENCE = Documented(
    constructor="""
        model, classifier, level_or_minsize, num_classes, num_workers, batch_size,
        use_cuda=True, seed=None
    """,
    properties="classes_array interpolation_method model torch_device",
    methods={
        "process_dataset": "dataset, save_outputs_dir=None",
        "save_class_array": "class_index, file",
        "save_class_png": "class_index, file",
        "save_class_tif": (
            "class_index, file, wsi_file, downsample_factor=None, jpeg_compression=True"
        ),
        "save_classes_array": "file",
        "set_interpolation_method": "method",
    },
)
WITH_TORCH: Final[dict[tuple[str, str], Documented]] = {
    (PROCESSING, "WSIDataset"): Documented(
        constructor=DATASET, properties="patches", methods={"worker_init": "worker_id"}
    ),
    (PROCESSING, "WSIMultiResDataset"): Documented(
        constructor=f"levels_or_mpps, {DATASET}",
        properties="patches",
        methods={"worker_init": "worker_id"},
    ),
    (PROCESSING, "WSIInference"): INFERENCE,
}
ANNOTATION_FILE = Documented(
    constructor="data_file, get_label_fn",
    properties="polygons",
    methods={"save_json": "file"},
)
QUPATH_PROJECT = Documented(
    constructor="qupath_install_dir, qupath_project_dir",
    properties="project_data",
    methods={"save_json": "output_dir"},
)
ANNOTATION_POLYGON = Documented(
    constructor="points, label, holes=[]",
    properties="points label holes data_dict",
    methods={"__eq__": "other"},
    takes_positions=True,
)
MASK_DATA = Documented(
    constructor="mask_data", properties="mask_array", attributes={"npz_data_key": "data"}
)
POLYGON_DATA = Documented(constructor="polygon_data", properties="polygons")

# -- locations ---------------------------------------------------------------------------

PLACED = """
    wsi_file, mask_data, patch_size=256, level_or_mpp=0, foreground_ratio=0.95,
    overlap_ratio=0.95, polygon_buffer=0
"""
REGIONS: Final = {
    "WholeImage": "weak_label=''",
    "WholeImageInverted": (
        "polygon_data, weak_label='', included_labels=[], excluded_labels=[]"
    ),
    "PolygonRegion": (
        "polygon_data, check_polygons=True, included_labels=[], excluded_labels=[]"
    ),
}
SAMPLERS: Final = {
    "Grid": "patch_stride=1",
    "Random": "num_patches",
    "PoissonDisk": "poisson_spacing=50",
    "Custom": "points",
}
PREVIEW = """
    image_file, patch_color="red", bbox_color="lime", polygon_color="blue",
    holes_color="teal", buffer_color="black", thickness=2, patch_markers=False,
    level_or_minsize=None, drawn_labels=[], drawn_patches_labels=[]
"""


def location(region: str, sampler: str) -> Documented:
    threshold = {"set_polygons_overlap_threshold": "polygons_overlap_threshold"}
    return Documented(
        constructor=f"{PLACED}, {REGIONS[region]}, {SAMPLERS[sampler]}",
        properties="""
            class_name level_or_mpp mask_shape param_info patch_count patch_data
            patch_data_mask_level patch_info patch_labels patch_size polygon_labels
            shapely_polygons wsi_file wsi_slide
        """,
        methods={"save_preview_image": PREVIEW},
        class_methods=threshold if region == "PolygonRegion" else {},
    )


def location_pool(region: str, sampler: str) -> Documented:
    polygons = "" if region == "WholeImage" else ", polygon_data_list"
    points = ", points_list" if sampler == "Custom" else ""
    return Documented(
        constructor=(
            "wsi_file_list, mask_data_list, patches_args, proc_num_workers, "
            f"mp_chunksize=1, save_preview_image_args=[]{polygons}{points}"
        ),
        properties="patch_count patch_info patch_labels patch_details pids",
        methods={"__iter__": "", "__len__": "", "__getitem__": "index"},
    )


MOCK = Documented(
    constructor="""
        patch_data, wsi_file, level_or_mpp, patch_labels=[], check_location=True,
        class_name=None, class_params=[]
    """,
    properties="""
        patch_data patch_count patch_info patch_labels param_info level_or_mpp wsi_file
        class_name
    """,
)

# -- extractors --------------------------------------------------------------------------

LABELS = "resampling_mode=None, included_labels=[], excluded_labels=[]"
ONE_SLIDE = f"patches, num_workers, mp_chunksize=1, {LABELS}"
MANY_SLIDES = f"""
    patches_pool, proc_num_workers, thread_num_workers, proc_mp_chunksize=1,
    thread_mp_chunksize=1, {LABELS}
"""
FILES = """
    output_dir, image_type, filename_comment="", filename_separator="_",
    create_subdirs=False
"""
COUNTER = {"reset_global_counter": "", "remove_global_counter": ""}
SAMPLE = "patch_data patch_labels patch_count"
POOL = "pids patch_count"

EXTRACTORS: Final = {
    "MemPatchExtractor": Documented(
        constructor=f"{ONE_SLIDE}, inference_mode=False",
        properties=f"{SAMPLE} patch_stream",
    ),
    "MultiResMemPatchExtractor": Documented(
        constructor=f"levels_or_mpps, {ONE_SLIDE}, inference_mode=False",
        properties=f"{SAMPLE} patch_stream",
    ),
    "DiskPatchExtractor": Documented(
        constructor=f"{FILES}, {ONE_SLIDE}, pool_mode=False",
        properties=f"{SAMPLE} manifest_id",
    ),
    "MultiResDiskPatchExtractor": Documented(
        constructor=(
            f"levels_or_mpps, {FILES}, {ONE_SLIDE}, global_counter=1, pool_mode=False"
        ),
        properties=f"{SAMPLE} manifest_id patchset_counter",
        class_methods=COUNTER,
    ),
    "MemPatchExtractorPool": Documented(
        constructor=f"{MANY_SLIDES}, array_mode=False",
        properties=f"{POOL} patch_list",
    ),
    "MultiResMemPatchExtractorPool": Documented(
        constructor=f"levels_or_mpps, {MANY_SLIDES}, array_mode=False",
        properties=f"{POOL} patch_list patchset_count",
    ),
    "DiskPatchExtractorPool": Documented(
        constructor=f"{FILES}, {MANY_SLIDES}",
        properties=f"{POOL} manifest_ids",
    ),
    "MultiResDiskPatchExtractorPool": Documented(
        constructor=f"levels_or_mpps, {FILES}, {MANY_SLIDES}, global_counter=1",
        properties=f"{POOL} manifest_ids patchset_count",
        class_methods=COUNTER,
    ),
}

# -- all of it ---------------------------------------------------------------------------

INTERFACE: Final[Mapping[tuple[str, str], Documented]] = {
    (SLIDES, "GenericSlide"): GENERIC_SLIDE,
    (PROCESSING, "WSIHeatmap"): HEATMAP,
    (PROCESSING, "WSITissueMask"): TISSUE_MASK,
    (PROCESSING, "WSIPolygonMask"): POLYGON_MASK,
    (ANNOTATIONS, "AsapReader"): ANNOTATION_FILE,
    (ANNOTATIONS, "SedeenReader"): ANNOTATION_FILE,
    (ANNOTATIONS, "QuPathProjectReader"): QUPATH_PROJECT,
    (UTILS, "AnnotationPolygon"): ANNOTATION_POLYGON,
    (UTILS, "MaskData"): MASK_DATA,
    (UTILS, "PolygonData"): POLYGON_DATA,
    (PATCHES, "PatchesMock"): MOCK,
    (PATCHES, "WholeImageGridPatches"): location("WholeImage", "Grid"),
    (PATCHES, "WholeImageRandomPatches"): location("WholeImage", "Random"),
    (PATCHES, "WholeImagePoissonDiskPatches"): location("WholeImage", "PoissonDisk"),
    (PATCHES, "WholeImageCustomPatches"): location("WholeImage", "Custom"),
    (PATCHES, "WholeImageInvertedGridPatches"): location("WholeImageInverted", "Grid"),
    (PATCHES, "WholeImageInvertedRandomPatches"): location("WholeImageInverted", "Random"),
    (PATCHES, "WholeImageInvertedPoissonDiskPatches"): location(
        "WholeImageInverted", "PoissonDisk"
    ),
    (PATCHES, "WholeImageInvertedCustomPatches"): location("WholeImageInverted", "Custom"),
    (PATCHES, "PolygonRegionGridPatches"): location("PolygonRegion", "Grid"),
    (PATCHES, "PolygonRegionRandomPatches"): location("PolygonRegion", "Random"),
    (PATCHES, "PolygonRegionPoissonDiskPatches"): location("PolygonRegion", "PoissonDisk"),
    (PATCHES, "PolygonRegionCustomPatches"): location("PolygonRegion", "Custom"),
    (PATCHES, "WholeImageGridPatchesPool"): location_pool("WholeImage", "Grid"),
    (PATCHES, "WholeImageRandomPatchesPool"): location_pool("WholeImage", "Random"),
    (PATCHES, "WholeImagePoissonDiskPatchesPool"): location_pool(
        "WholeImage", "PoissonDisk"
    ),
    (PATCHES, "WholeImageCustomPatchesPool"): location_pool("WholeImage", "Custom"),
    (PATCHES, "WholeImageInvertedGridPatchesPool"): location_pool(
        "WholeImageInverted", "Grid"
    ),
    (PATCHES, "WholeImageInvertedRandomPatchesPool"): location_pool(
        "WholeImageInverted", "Random"
    ),
    (PATCHES, "WholeImageInvertedPoissonDiskPatchesPool"): location_pool(
        "WholeImageInverted", "PoissonDisk"
    ),
    (PATCHES, "WholeImageInvertedCustomPatchesPool"): location_pool(
        "WholeImageInverted", "Custom"
    ),
    (PATCHES, "PolygonRegionGridPatchesPool"): location_pool("PolygonRegion", "Grid"),
    (PATCHES, "PolygonRegionRandomPatchesPool"): location_pool("PolygonRegion", "Random"),
    (PATCHES, "PolygonRegionPoissonDiskPatchesPool"): location_pool(
        "PolygonRegion", "PoissonDisk"
    ),
    (PATCHES, "PolygonRegionCustomPatchesPool"): location_pool("PolygonRegion", "Custom"),
    **{(PATCHES, name): documented for name, documented in EXTRACTORS.items()},
    **(WITH_TORCH if find_spec("torch") is not None else {}),  # else they are not there
}
CASES = [
    pytest.param(module, name, documented, id=name)
    for (module, name), documented in INTERFACE.items()
]


KEYWORD: Final = inspect.Parameter.KEYWORD_ONLY
POSITION_OR_KEYWORD: Final = inspect.Parameter.POSITIONAL_OR_KEYWORD


def class_of(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def parameters_of(text: str) -> list[tuple[str, object]]:
    """Return name and default of each parameter."""
    parameters = [part.partition("=") for part in re.split(r",\s*", text.strip()) if part]
    return [
        (name.strip(), eval(default) if default else inspect.Parameter.empty)  # noqa: S307
        for name, _, default in parameters
    ]


def faults(
    function: Any, text: str, *, bound: bool, kind: inspect._ParameterKind
) -> Iterator[str]:
    """Yield what a function lacks of its documented parameters."""
    actual = list(inspect.signature(function).parameters.values())[0 if bound else 1 :]
    by_name = {parameter.name: parameter for parameter in actual}
    documented = parameters_of(text)
    for name, default in documented:
        if name in by_name:
            yield from parameter_faults(by_name[name], default, kind)
        else:
            yield f"{name} is missing"
    names = [name for name, _ in documented]
    for parameter in actual:
        free = parameter.kind in {parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL}
        if (
            parameter.name not in names
            and parameter.default is parameter.empty
            and not free
        ):
            yield f"{parameter.name} is required"
    in_order = [parameter.name for parameter in actual][: len(names)]
    if kind is POSITION_OR_KEYWORD and in_order != names:
        yield f"the order is {in_order}"


def parameter_faults(
    parameter: inspect.Parameter, default: object, kind: inspect._ParameterKind
) -> Iterator[str]:
    if parameter.kind is not kind:
        yield f"{parameter.name} is {parameter.kind.description}"
    if default is not parameter.empty and not is_same(default, parameter.default):
        yield f"{parameter.name} defaults to {parameter.default!r}, not {default!r}"


def is_same(documented: object, actual: object) -> bool:
    if documented == []:
        return actual is None or actual in ((), {}, [])
    return type(documented) is type(actual) and documented == actual


def test_the_interface_has_all_its_names() -> None:
    count = {module: 0 for module, _ in INTERFACE}
    processing = 6 if find_spec("torch") is not None else 3
    for module, name in INTERFACE:
        assert name in importlib.import_module(module).__all__
        count[module] += 1
    others = {SLIDES: 1, PATCHES: 33, ANNOTATIONS: 3, UTILS: 3}
    assert count == {PROCESSING: processing, **others}


@pytest.mark.parametrize(("module", "name", "documented"), CASES)
def test_constructors_take_the_documented_keywords(
    module: str, name: str, documented: Documented
) -> None:
    kind = POSITION_OR_KEYWORD if documented.takes_positions else KEYWORD
    found = faults(class_of(module, name), documented.constructor, bound=True, kind=kind)
    assert list(found) == []


@pytest.mark.parametrize(("module", "name", "documented"), CASES)
def test_methods_take_the_documented_arguments_by_position_and_by_name(
    module: str, name: str, documented: Documented
) -> None:
    kind = class_of(module, name)
    for method, text in documented.methods.items():
        function = getattr(kind, method, None)
        assert callable(function), method
        if method.startswith("__"):
            continue  # called by Python, by position
        assert list(faults(function, text, bound=False, kind=POSITION_OR_KEYWORD)) == [], (
            method
        )


@pytest.mark.parametrize(("module", "name", "documented"), CASES)
def test_class_methods_need_no_object(
    module: str, name: str, documented: Documented
) -> None:
    kind = class_of(module, name)
    for method, text in documented.class_methods.items():
        static = inspect.getattr_static(kind, method)
        assert isinstance(static, classmethod | staticmethod), method
        function = getattr(kind, method)
        assert list(faults(function, text, bound=True, kind=POSITION_OR_KEYWORD)) == [], (
            method
        )


@pytest.mark.parametrize(("module", "name", "documented"), CASES)
def test_values_are_properties(module: str, name: str, documented: Documented) -> None:
    kind = class_of(module, name)
    for value in documented.properties.split():
        static = inspect.getattr_static(kind, value, None)
        assert isinstance(static, property | cached_property), value


@pytest.mark.parametrize(("module", "name", "documented"), CASES)
def test_class_attributes_have_the_documented_values(
    module: str, name: str, documented: Documented
) -> None:
    kind = class_of(module, name)
    assert {key: vars(kind)[key] for key in documented.attributes} == documented.attributes


def test_the_configuration_has_its_names() -> None:
    import dplabtools

    config = importlib.import_module("dplabtools.config")
    assert config.print_messages is False
    assert config.slide_library == "auto"
    assert re.match(r"\d+\.\d+", dplabtools.__version__)

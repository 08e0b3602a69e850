"""Where patches are, and how to get them: the documented classes."""

from dplabtools.records.quality import QualityLimits
from dplabtools.slides.patches._disk_extractors import (
    DiskPatchExtractor,
    MultiResDiskPatchExtractor,
)
from dplabtools.slides.patches._disk_pools import (
    DiskPatchExtractorPool,
    MultiResDiskPatchExtractorPool,
)
from dplabtools.slides.patches._exchange import read_locations, save_locations
from dplabtools.slides.patches._inverted import (
    WholeImageInvertedCustomPatches,
    WholeImageInvertedGridPatches,
    WholeImageInvertedPoissonDiskPatches,
    WholeImageInvertedRandomPatches,
)
from dplabtools.slides.patches._location_pools import (
    PolygonRegionCustomPatchesPool,
    PolygonRegionGridPatchesPool,
    PolygonRegionPoissonDiskPatchesPool,
    PolygonRegionRandomPatchesPool,
    WholeImageCustomPatchesPool,
    WholeImageGridPatchesPool,
    WholeImageInvertedCustomPatchesPool,
    WholeImageInvertedGridPatchesPool,
    WholeImageInvertedPoissonDiskPatchesPool,
    WholeImageInvertedRandomPatchesPool,
    WholeImagePoissonDiskPatchesPool,
    WholeImageRandomPatchesPool,
)
from dplabtools.slides.patches._mem_extractors import (
    MemPatchExtractor,
    MultiResMemPatchExtractor,
)
from dplabtools.slides.patches._mem_pools import (
    MemPatchExtractorPool,
    MultiResMemPatchExtractorPool,
)
from dplabtools.slides.patches._mock import PatchesMock
from dplabtools.slides.patches._polygon_region import (
    PolygonRegionCustomPatches,
    PolygonRegionGridPatches,
    PolygonRegionPoissonDiskPatches,
    PolygonRegionRandomPatches,
)
from dplabtools.slides.patches._stored import StoredPatch, StoredPatches, open_patches
from dplabtools.slides.patches._stream_pool import StreamPatchExtractorPool
from dplabtools.slides.patches._whole_image import (
    WholeImageCustomPatches,
    WholeImageGridPatches,
    WholeImagePoissonDiskPatches,
    WholeImageRandomPatches,
)

__all__ = [
    "DiskPatchExtractor",
    "DiskPatchExtractorPool",
    "MemPatchExtractor",
    "MemPatchExtractorPool",
    "MultiResDiskPatchExtractor",
    "MultiResDiskPatchExtractorPool",
    "MultiResMemPatchExtractor",
    "MultiResMemPatchExtractorPool",
    "PatchesMock",
    "PolygonRegionCustomPatches",
    "PolygonRegionCustomPatchesPool",
    "PolygonRegionGridPatches",
    "PolygonRegionGridPatchesPool",
    "PolygonRegionPoissonDiskPatches",
    "PolygonRegionPoissonDiskPatchesPool",
    "PolygonRegionRandomPatches",
    "PolygonRegionRandomPatchesPool",
    "QualityLimits",
    "StoredPatch",
    "StoredPatches",
    "StreamPatchExtractorPool",
    "WholeImageCustomPatches",
    "WholeImageCustomPatchesPool",
    "WholeImageGridPatches",
    "WholeImageGridPatchesPool",
    "WholeImageInvertedCustomPatches",
    "WholeImageInvertedCustomPatchesPool",
    "WholeImageInvertedGridPatches",
    "WholeImageInvertedGridPatchesPool",
    "WholeImageInvertedPoissonDiskPatches",
    "WholeImageInvertedPoissonDiskPatchesPool",
    "WholeImageInvertedRandomPatches",
    "WholeImageInvertedRandomPatchesPool",
    "WholeImagePoissonDiskPatches",
    "WholeImagePoissonDiskPatchesPool",
    "WholeImageRandomPatches",
    "WholeImageRandomPatchesPool",
    "open_patches",
    "read_locations",
    "save_locations",
]

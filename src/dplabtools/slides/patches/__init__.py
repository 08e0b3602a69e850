"""Where patches are, and how to get them: the documented classes."""

from dplabtools.slides.patches._disk_extractors import (
    DiskPatchExtractor,
    MultiResDiskPatchExtractor,
)
from dplabtools.slides.patches._disk_pools import (
    DiskPatchExtractorPool,
    MultiResDiskPatchExtractorPool,
)
from dplabtools.slides.patches._location_pools import (
    WholeImageCustomPatchesPool,
    WholeImageGridPatchesPool,
    WholeImagePoissonDiskPatchesPool,
    WholeImageRandomPatchesPool,
)
from dplabtools.slides.patches._locations import (
    WholeImageCustomPatches,
    WholeImageGridPatches,
    WholeImagePoissonDiskPatches,
    WholeImageRandomPatches,
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
from dplabtools.slides.patches._stream_pool import StreamPatchExtractorPool

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
    "StreamPatchExtractorPool",
    "WholeImageCustomPatches",
    "WholeImageCustomPatchesPool",
    "WholeImageGridPatches",
    "WholeImageGridPatchesPool",
    "WholeImagePoissonDiskPatches",
    "WholeImagePoissonDiskPatchesPool",
    "WholeImageRandomPatches",
    "WholeImageRandomPatchesPool",
]

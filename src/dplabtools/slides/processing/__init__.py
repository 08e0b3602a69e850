"""Masks made of slides and of polygons; models on patches, and what they say.

The datasets, `WSIInference` and `extract_features` need PyTorch, which is imported when
one of them is first asked for.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING

from dplabtools.optional import optional
from dplabtools.slides.processing._heatmap import WSIHeatmap
from dplabtools.slides.processing._masks import WSIPolygonMask, WSITissueMask

if TYPE_CHECKING:
    from dplabtools.slides.processing._datasets import WSIDataset, WSIMultiResDataset
    from dplabtools.slides.processing._features import SlideFeatures, extract_features
    from dplabtools.slides.processing._inference import WSIInference
    from dplabtools.slides.processing._stream_dataset import PatchStreamDataset

_WITH_TORCH = {
    "PatchStreamDataset": "_stream_dataset",
    "SlideFeatures": "_features",
    "WSIDataset": "_datasets",
    "WSIInference": "_inference",
    "WSIMultiResDataset": "_datasets",
    "extract_features": "_features",
}

__all__ = ["WSIHeatmap", "WSIPolygonMask", "WSITissueMask"]
if find_spec("torch") is not None:
    __all__ += ["PatchStreamDataset", "WSIDataset", "WSIInference", "WSIMultiResDataset"]
    __all__ += ["SlideFeatures", "extract_features"]


def __getattr__(name: str) -> object:
    if name not in _WITH_TORCH:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    optional("torch", what="datasets, inference and features", extra="torch")
    module = optional(f"{__name__}.{_WITH_TORCH[name]}", what=name, extra="torch")
    return getattr(module, name)

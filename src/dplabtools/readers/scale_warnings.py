"""What the caller is told of the scale of a slide."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator

from dplabtools.errors import DplabWarning, EnlargedPatchesWarning, ImplausibleMppWarning
from dplabtools.geometry.pyramid import Pyramid
from dplabtools.geometry.resolution import Mpp, Resolution
from dplabtools.settings import Settings

__all__ = ["scale_warnings", "warn_of_scale"]


def scale_warnings(
    pyramid: Pyramid, resolutions: Iterable[Resolution], settings: Settings
) -> Iterator[DplabWarning]:
    """Yield what there is to say of a slide, and of what is asked of it.

    Parameters
    ----------
    pyramid : Pyramid
        Of the slide.
    resolutions : iterable of Level or Mpp
        What is asked for.
    settings : Settings
        The margin within which a level is read as it is.

    Yields
    ------
    DplabWarning
        A resolution tag that cannot be; each mpp that is finer than any level.
    """
    if pyramid.ignored_mpp:
        does = (
            "it counts as unstated, and levels alone can be asked for until "
            "GenericSlide.set_external_mpp supplies the value"
            if pyramid.mpp is None
            else f"{pyramid.mpp:g} µm/px is used ({pyramid.mpp_source})"
        )
        yield ImplausibleMppWarning(
            f"{pyramid.slide}: the file has a {pyramid.ignored_mpp}, which cannot be; "
            f"{does}"
        )
    for resolution in resolutions:
        times = pyramid.enlargement(resolution, settings)
        if isinstance(resolution, Mpp) and times > 1:
            yield EnlargedPatchesWarning(
                f"{pyramid.slide}: {resolution.value:g} µm/px is finer than its finest "
                f"level, of {pyramid.mpp:g} µm/px: patches are that, enlarged {times:.3g} "
                f"times"
            )


def warn_of_scale(
    pyramid: Pyramid, resolutions: Iterable[Resolution], settings: Settings
) -> None:
    """Issue what `scale_warnings` has to say."""
    for warning in scale_warnings(pyramid, resolutions, settings):
        warnings.warn(warning, stacklevel=2)

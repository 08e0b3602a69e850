"""The documented interface: slides, patches, masks, annotations."""

from __future__ import annotations

from dplabtools.slides._generic_slide import GenericSlide

__all__ = ["GenericSlide"]

"""Masks made of slides and of polygons."""

from __future__ import annotations

from dplabtools.slides.processing._masks import WSIPolygonMask, WSITissueMask

__all__ = ["WSIPolygonMask", "WSITissueMask"]

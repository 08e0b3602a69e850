"""Outlines drawn by people, read from the files of the programs they were drawn in."""

from dplabtools.slides.annotations._readers import (
    AsapReader,
    GeoJsonReader,
    QuPathProjectReader,
    SedeenReader,
)

__all__ = ["AsapReader", "GeoJsonReader", "QuPathProjectReader", "SedeenReader"]

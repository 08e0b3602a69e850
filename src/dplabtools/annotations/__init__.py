"""Outlines drawn by people: polygons and the files that hold them."""

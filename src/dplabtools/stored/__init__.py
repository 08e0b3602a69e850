"""Patches that were written, read back: from image files and from containers."""

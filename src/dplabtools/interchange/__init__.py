"""Patches in the files of other tools: TRIDENT, CLAM, AtlasPatch, QuPath, tables."""

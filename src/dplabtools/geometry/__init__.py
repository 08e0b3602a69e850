"""Arithmetic of pyramids and patches: no file, no pixel."""

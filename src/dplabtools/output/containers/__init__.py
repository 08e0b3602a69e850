"""Kinds of files that hold patches: each is written, and read back."""

"""From tables of patches to pixels, and to where they are wanted."""

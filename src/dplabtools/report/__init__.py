"""A page about a run: what it wrote, where the patches lie, and what failed."""

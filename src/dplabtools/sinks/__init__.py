"""Where patches go: shared memory, or files."""

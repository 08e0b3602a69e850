"""Where patches go, and how they are read back."""

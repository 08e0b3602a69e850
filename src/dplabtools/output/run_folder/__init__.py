"""The folder that a run writes to: its lock, its records, and what is read of them."""

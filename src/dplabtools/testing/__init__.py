"""For tests: made slides, and what is expected of implementations of the protocols."""

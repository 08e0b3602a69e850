"""Image formats: one module for each that is encoded by something faster than Pillow."""

"""From pixels to the bytes of image files, and back."""

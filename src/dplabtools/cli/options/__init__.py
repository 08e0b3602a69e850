"""Groups of options, each declared once; the names are those of the classes' parameters."""

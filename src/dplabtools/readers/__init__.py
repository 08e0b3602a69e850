"""A slide file in, arrays out."""

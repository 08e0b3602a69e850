"""From a mask and regions to a table of patches."""

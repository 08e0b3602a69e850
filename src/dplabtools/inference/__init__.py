"""Models on patches: datasets, class maps, heatmaps. Only here is torch imported."""

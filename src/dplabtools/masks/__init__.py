"""Where a slide has something to show: foreground, and how it is found and drawn."""

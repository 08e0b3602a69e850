"""Where jobs run, and the memory they share. Nothing here knows what a slide is."""

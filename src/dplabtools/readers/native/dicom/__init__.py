"""DICOM slides: which files there are, where their frames lie, and what they say.

`instance` reads the header of one file, `items` walks what a header has too much of,
`frames` finds the frames, `index` makes levels of several files, and `describe` says about
a slide what OpenSlide says about it.
"""

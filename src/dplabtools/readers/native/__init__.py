"""Slides of tiles, read without a slide library: each tile is decoded once.

An index says where the tiles of a slide lie: `tiff`, `ndpi`, `philips` and `dicom` make
one, each of its family of files, and `families` knows which. `decode` decodes a tile,
`assemble` finds out which of them serve which rectangles, `copying` copies it there (in
machine code, where that pays), `reader` puts all this together, `cache` keeps what may be
needed again, `stored` hands tiles on as they are, and `describe` says about a file what
OpenSlide says about it.
"""

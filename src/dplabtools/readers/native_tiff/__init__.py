"""Tiled TIFF slides, read without a slide library: each tile is decoded once.

`index` finds the tiles, `decode` decodes one, `assemble` finds out which of them serve
which rectangles, `copying` copies it there (in machine code, where that pays), `reader`
puts all this together, `cache` keeps what may be needed again, `stored` hands tiles on as
they are, and `describe` says about a file what OpenSlide says about it.
"""

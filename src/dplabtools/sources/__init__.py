"""Bytes of slide files, wherever they lie: on this machine, or in an object store.

`urls` tells addresses from paths, `base` says what a source can do, `local` and `remote`
are the two that there are, `joined` makes one of several, `stores` speaks with object
stores by obstore, `stream` makes a file of a remote source for libraries that read headers,
and `staging` keeps whole copies for libraries that read nothing else.
"""

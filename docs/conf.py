"""How Sphinx builds the documentation."""

from __future__ import annotations

from importlib.util import find_spec

from numpydoc.xref import DEFAULT_LINKS

import dplabtools
from dplabtools import errors
from dplabtools.slides import patches, utils

project = "dplabtools"
author = "the dplabtools authors"
copyright = author  # noqa: A001 - Sphinx calls it so
release = version = dplabtools.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "numpydoc"]
exclude_patterns = ["_build", "examples"]
smartquotes = False  # defaults and options are quoted as they are typed
html_theme = "furo"
html_title = f"dplabtools {release}"
html_copy_source = False
html_static_path = ["_static"]
html_css_files = ["figures.css"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

# Single backticks in docstrings: a link where there is something to link to.
default_role = "autolink"
nitpick_ignore = [  # documented elsewhere
    ("py:obj", "PIL.Image.Resampling"),
    ("py:obj", "ray.data.Dataset"),
    ("py:class", "ray.data.dataset.Dataset"),
    ("py:class", "ray.data.Dataset"),
]
autosummary_generate = False
# Types stand in the text of the docstrings, with shapes and units.
autodoc_typehints = "none"
# What needs these is described all the same.
autodoc_mock_imports = [
    name for name in ("torch", "ray", "pyarrow") if find_spec(name) is None
]
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
numpydoc_show_class_members = False
# In lists of types and errors nothing is a link but these: int and str explain themselves.
DEFAULT_LINKS.clear()
numpydoc_xref_param_type = True
numpydoc_xref_ignore = "all"
numpydoc_xref_aliases = {
    name: f"{module.__name__}.{name}"
    for module in (errors, patches, utils)
    for name in module.__all__
}

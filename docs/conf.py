"""Configuration of Sphinx: MyST pages, docstrings of the public names, the furo theme."""

from __future__ import annotations

from pima_physics import __version__

project = "pima_physics"
author = "pima_physics developers"
copyright = "pima_physics developers, MIT licence"
release = version = __version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.mathjax",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"pima_physics {release}"
autodoc_typehints = "none"  # the docstrings name types and shapes
autodoc_member_order = "bysource"
napoleon_google_docstring = False
napoleon_use_rtype = False
suppress_warnings = ["myst.strikethrough"]

"""Configuration of Sphinx: MyST pages, docstrings of the public names, the furo theme."""

from __future__ import annotations

import html
import re

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml

from pima_physics import __version__

project = "pima_physics"
author = "pima_physics developers"
copyright = "pima_physics developers, MIT licence"
release = version = __version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
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
html_math_renderer = "mathml"


def _mathml(text, block=False):
    """Return MathML (which sets the size of brackets itself); TeX where there is none."""
    plain = re.sub(r"\\[Bb]igg?[lr]?(?![A-Za-z])", "", text)
    plain = re.sub(r"\\[td]?frac\s*(\w)\s*(\w)", r"\\frac{\1}{\2}", plain)  # braces are needed
    plain = re.sub(r"\\[td]frac", r"\\frac", plain).replace(r"\dots", r"\ldots")
    try:
        return tex2mathml(plain, as_block=block)
    except MathError:
        return f"<code>{html.escape(text)}</code>"


def _inline(translator, node):
    translator.body.append(_mathml(node.astext()))
    raise nodes.SkipNode


def _block(translator, node):
    translator.body.append(f"<p>{_mathml(node.astext(), block=True)}</p>")
    raise nodes.SkipNode


def setup(app):
    """Equations become MathML, which browsers show themselves: no script from elsewhere."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))

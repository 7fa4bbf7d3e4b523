"""The report: one self-contained HTML page made from a results tree alone.

The page needs no network and no script: style sheet, figures and images are inside it, and a
content security policy forbids anything else.  A run without physics, without discovery or
without a graph gets a page that says so.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import xarray as xr

from pima_physics import plots_tree as view
from pima_physics.atomic import write_text
from pima_physics.errors import InputError
from pima_physics.report_blocks import Note, Section
from pima_physics.report_calibration import calibration_section
from pima_physics.report_evidence import discovery_section, graph_section
from pima_physics.report_features import features_section
from pima_physics.report_figures import FORBIDDEN, palette_css
from pima_physics.report_fit import (
    crossmodal_section,
    history_section,
    reconstruction_section,
)
from pima_physics.report_format import moment, short
from pima_physics.report_physics import physics_section
from pima_physics.report_provenance import citation_section, data_section
from pima_physics.report_replicas import replicas_section
from pima_physics.report_summary import key_facts, summary_section

SECTIONS: tuple[tuple[str, str, Callable[[xr.DataTree], Section]], ...] = (
    ("summary", "Summary", summary_section),
    ("graph", "How the features depend on each other", graph_section),
    ("features", "What each feature changes", features_section),
    ("parameters", "Physical parameters", physics_section),
    ("reconstruction", "How well the model reproduces the data", reconstruction_section),
    ("crossmodal", "Predicting one modality from another", crossmodal_section),
    ("calibration", "Whether the stated uncertainty is right", calibration_section),
    ("evidence", "Evidence for each feature", discovery_section),
    ("replicas", "Whether it comes back in other fits", replicas_section),
    ("training", "How the training went", history_section),
)


def render(tree: xr.DataTree, *, experiment: Mapping[str, Any] | None = None) -> str:
    """The report as one HTML document.

    Parameters
    ----------
    tree : xarray.DataTree
        Results after the contract of ``results.nc``; any group or variable may be absent.
    experiment : mapping, optional
        The resolved experiment, shown as it is.

    Returns
    -------
    str
        HTML 5, UTF-8, below 5 MB for data sets of usual shapes.

    Raises
    ------
    InputError
        When ``tree`` is not a DataTree.

    Warns
    -----
    RuntimeWarning
        When a section could not be made; the page says so in its place.
    """
    if not isinstance(tree, xr.DataTree):
        raise InputError(
            "the report needs the results of a run",
            found=type(tree).__name__,
            expected="xarray.DataTree",
            fix='open it with xarray.open_datatree("results.nc")',
        )
    sections = [_guarded(anchor, title, make, tree) for anchor, title, make in SECTIONS]
    sections += [data_section(tree, experiment), citation_section(tree)]
    title = short(view.as_text(tree.attrs.get("title") or "Results of pima_physics"), 120)
    page = _template().render(
        title=title,
        sections=sections,
        facts=key_facts(tree),
        created=_created(tree),
        version=short(view.as_text(tree.attrs.get("package_version", "")), 40),
        light=palette_css(dark=False),
        dark=palette_css(dark=True),
        css=_resource("report.css"),
    )
    return FORBIDDEN.sub("", page)


def write(tree: xr.DataTree, path: str | Path, experiment: Mapping[str, Any] | None = None) -> Path:
    """Write the report to ``path``: the whole new page or, on failure, the old file."""
    target = Path(path)
    write_text(target, render(tree, experiment=experiment))
    return target


def _guarded(
    anchor: str, title: str, make: Callable[[xr.DataTree], Section], tree: xr.DataTree
) -> Section:
    """A section, or a note in its place: one odd variable must not cost the whole report."""
    try:
        return make(tree)
    except Exception as error:
        text = f"{type(error).__name__}: {short(str(error), 300)}"
        warnings.warn(
            f"report section '{anchor}' could not be made: {text}", RuntimeWarning, stacklevel=3
        )
        return Section(anchor, title, [Note("This part could not be made", text, "caution")])


def _created(tree: xr.DataTree) -> str:
    return short(moment(view.as_text(tree.attrs.get("created", ""))), 40)


def _resource(name: str) -> str:
    return (files("pima_physics") / "templates" / name).read_text(encoding="utf-8")


def _template() -> Any:
    from jinja2 import DictLoader, Environment, StrictUndefined

    environment = Environment(
        loader=DictLoader({"report.html": _resource("report.html")}),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["code"] = _code
    return environment.get_template("report.html")


def _code(text: str) -> Any:
    """Escaped text in which what stands between backticks is set as code."""
    from markupsafe import Markup, escape

    parts = [escape(part) for part in text.split("`")]
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if k % 2 else part for k, part in enumerate(parts)
    )

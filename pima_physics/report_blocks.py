"""What a report is made of: plain records that the template turns into HTML.

Strings are escaped by the template; only :class:`Panel` and :class:`Drawing` carry markup, and
they are built by :mod:`pima_physics.report_figures` and :mod:`pima_physics.report_graph`, which
escape what they are given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from pima_physics.report_format import percent


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of text."""

    text: str
    kind: ClassVar[str] = "paragraph"


@dataclass(frozen=True)
class Note:
    """Something the reader must keep in mind; ``tone`` is "caution" or "info"."""

    title: str
    text: str
    tone: str = "info"
    kind: ClassVar[str] = "note"


@dataclass(frozen=True)
class Listing:
    """A list; every item is (bold lead or "", text)."""

    items: Sequence[tuple[str, str]]
    kind: ClassVar[str] = "listing"


@dataclass(frozen=True)
class Bar:
    """A table cell that shows a share between 0 and 1 as a number and a bar.

    ``own`` is the part of it that is drawn solid.
    """

    text: str
    share: float
    own: float


def share_cell(share: float, own: float | None = None) -> str | Bar:
    """A variance share as a cell, with the part that no other feature explains where known."""
    if not math.isfinite(share):
        return "n/a"
    if own is None or not math.isfinite(own):
        return Bar(percent(share), share, share)
    return Bar(f"{percent(share)}, own\u00a0{percent(own)}", share, min(own, share))


@dataclass(frozen=True)
class Table:
    """A table with a caption; the first cell of every row is its header."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | Bar]]
    kind: ClassVar[str] = "table"


@dataclass(frozen=True)
class Panel:
    """One drawing of a figure: safe SVG and the words that replace it."""

    svg: str
    title: str = ""


@dataclass(frozen=True)
class Figure:
    """Panels that belong together and a caption that says what to look for."""

    panels: Sequence[Panel]
    caption: str
    wide: bool = False
    kind: ClassVar[str] = "figure"


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    text: str
    kind: ClassVar[str] = "heading"


@dataclass(frozen=True)
class Preformatted:
    """Text shown as it is."""

    text: str
    label: str
    kind: ClassVar[str] = "preformatted"


@dataclass(frozen=True)
class Details:
    """Blocks that the reader may open."""

    summary: str
    blocks: Sequence[Block]
    kind: ClassVar[str] = "details"


Block = Paragraph | Note | Listing | Table | Figure | Heading | Preformatted | Details


@dataclass(frozen=True)
class Section:
    """A part of the report with its own heading and anchor."""

    anchor: str
    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)

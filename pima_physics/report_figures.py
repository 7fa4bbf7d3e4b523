"""From matplotlib axes to inline SVG that follows the page's colours and fonts."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from html import escape
from typing import TYPE_CHECKING, Any
from zlib import crc32

from pima_physics import plots_style as look
from pima_physics.report_blocks import Panel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Characters that XML 1.0 forbids even when escaped; one of them would break the whole page.
FORBIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffe\uffff\ud800-\udfff]")
PALETTE = {look.INK: "ink", look.MUTED: "muted", look.GRID: "grid"} | {
    shade: f"series-{k}" for k, shade in enumerate(look.SERIES)
}


def safe(text: str) -> str:
    """Text for SVG or an attribute: escaped, quotes too, without forbidden characters."""
    return escape(FORBIDDEN.sub(" ", text), quote=True)


def palette_css(dark: bool) -> str:
    """Declarations of the figure colours as CSS variables."""
    pairs = ((name, look.DARK[shade] if dark else shade) for shade, name in PALETTE.items())
    return " ".join(f"--{name}: {shade};" for name, shade in pairs)


def panel(
    draw: Callable[..., Any],
    *arguments: Any,
    key: str,
    alt: str,
    title: str = "",
    size: tuple[float, float] = (3.6, 2.75),
    **options: Any,
) -> Panel:
    """Draw one panel by calling ``draw(*arguments, ax=ax, **options)``.

    Parameters
    ----------
    draw : callable
        One of the functions of :mod:`pima_physics.plots`.
    key : str
        Unique on the page: identifiers inside the SVG start with it.
    alt : str
        What the panel shows, for those who cannot see it.
    title : str, optional
        Shown above the panel.
    size : tuple of float, optional
        Width and height in inches: 3.6 fills a phone without shrinking the text.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    figure = Figure(figsize=size, layout="constrained")
    figure.patch.set_alpha(0.0)
    ax: Axes = figure.add_subplot()
    stream = io.StringIO()
    with (
        warnings.catch_warnings(),
        mpl.rc_context({"svg.fonttype": "none", "svg.hashsalt": "pima_physics"}),
    ):
        # Text stays text, so the reader's browser finds the glyphs that DejaVu lacks.
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from")
        draw(*arguments, ax=ax, **options)
        figure.savefig(
            stream,
            format="svg",
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    return Panel(inline(stream.getvalue(), key, alt), title)


def _unique(svg: str) -> str:
    """Rename repeated identifiers: matplotlib names an image by its pixels."""
    seen: dict[str, int] = {}

    def renamed(match: re.Match[str]) -> str:
        name = match.group(1)
        seen[name] = seen.get(name, 0) + 1
        return match.group(0) if seen[name] == 1 else f'id="{name}-again-{seen[name]}"'

    return re.sub(r'\bid="([^"]+)"', renamed, svg)


def inline(svg: str, key: str, alt: str) -> str:
    """A standalone SVG as part of the page: own identifiers, page colours, a text alternative."""
    body = svg[svg.index("<svg") :]
    body = FORBIDDEN.sub(" ", re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL))
    opening, rest = body.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', opening)
    view_box = box.group(0) if box else ""
    # The checksum keeps apart names that differ only in characters that identifiers lack.
    prefix = re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-") + f"-{crc32(key.encode()):08x}"
    rest = _unique(rest)
    rest = re.sub(r'\bid="([^"]+)"', rf'id="{prefix}-\1"', rest)
    rest = re.sub(r"url\(#([^)]+)\)", rf"url(#{prefix}-\1)", rest)
    rest = re.sub(r'href="#([^"]+)"', rf'href="#{prefix}-\1"', rest)
    for shade, name in PALETTE.items():
        rest = rest.replace(f": {shade}", f": var(--{name})")
    rest = rest.replace(f": {look.PAPER}", ": var(--paper)")
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'{view_box} role="img" aria-label="{safe(alt)}">'
    )
    return head + rest.strip()

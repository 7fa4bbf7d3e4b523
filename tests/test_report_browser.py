"""The report in headless Chromium: fits a phone and a wide screen, light and dark, no errors."""

from __future__ import annotations

import json
import re
import subprocess
from html import escape, unescape
from pathlib import Path

import pytest
from synthetic_results import hostile_tree, make_tree

from pima_physics import report

CHROMIUM = Path("/usr/bin/chromium")
pytestmark = pytest.mark.skipif(
    not CHROMIUM.exists(), reason="needs /usr/bin/chromium (apt-get install chromium)"
)

# Runs outside the page, which itself admits no script: looks into it through a frame.
PROBE = """
const frame = document.querySelector("iframe"), page = frame.contentDocument;
const view = frame.contentWindow, body = view.getComputedStyle(page.body);
const parse = c => c.match(/[\\d.]+/g).map(Number);
const light = c => { const [r, g, b] = c.slice(0, 3).map(v => v / 255).map(
  v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
const paper = e => { for (; e; e = e.parentElement) {
  const c = parse(view.getComputedStyle(e).backgroundColor);
  if (c.length < 4 || c[3] > 0) return c; }
  return parse(body.backgroundColor); };
const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => p - q);
  return (y + 0.05) / (x + 0.05); };
const words = [...page.querySelectorAll("p,li,th,td,a,h1,h2,h3,figcaption,summary,dt,dd,svg text")];
const worst = Math.min(...words.filter(e => e.textContent.trim()).map(e => {
  const s = view.getComputedStyle(e);
  return contrast(parse(e.closest("svg") ? s.fill : s.color), paper(e)); }));
const small = Math.min(...[...page.querySelectorAll("svg text")].map(
  e => e.getBoundingClientRect().height).filter(h => h > 0));
document.body.textContent = "RESULT" + JSON.stringify({
  width: page.documentElement.clientWidth, scroll: page.documentElement.scrollWidth,
  images: [...page.querySelectorAll("svg")].every(e => e.getBoundingClientRect().width > 100),
  dark: light(parse(body.backgroundColor)) < 0.2, worst, small, alerts: window.alerts,
  title: page.querySelector("h1").textContent,
}) + "END";
"""


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    full = make_tree(samples=60, modalities=("image", "curve", "colour", "hardness"))
    return {"full": report.render(full), "hostile": report.render(hostile_tree())}


def browse(page: str, folder: Path, *, dark: bool = False) -> tuple[str, str]:
    """The page as it is after its scripts ran, and what the browser complained about."""
    file = folder / "outer.html"
    file.write_text(page, encoding="utf-8")
    scheme = 0 if dark else 1
    done = subprocess.run(
        [
            str(CHROMIUM),
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            f"--user-data-dir={folder / 'profile'}",
            "--enable-logging=stderr",
            f"--blink-settings=preferredColorScheme={scheme}",
            "--window-size=1700,1000",
            "--virtual-time-budget=4000",
            "--dump-dom",
            file.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    console = "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)
    return done.stdout, console


def look(html: str, folder: Path, width: int, dark: bool) -> tuple[dict, str]:
    """What the probe saw, and what the browser complained about."""
    page, console = browse(
        f'<!DOCTYPE html><meta charset="utf-8"><body><script>window.alerts = 0;</script>'
        f'<iframe width="{width}" height="900" style="border:0" srcdoc="{escape(html)}"></iframe>'
        f'<script>document.querySelector("iframe").onload = () => {{ {PROBE} }}</script>',
        folder,
        dark=dark,
    )
    found = page.split("RESULT")[-1].split("END")[0].replace("&amp;", "&")
    return json.loads(found), console


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [380, 1600])
@pytest.mark.parametrize("name", ["full", "hostile"])
def test_page_fits_and_reads_well(pages, tmp_path, name, width, dark):
    seen, console = look(pages[name], tmp_path, width, dark)
    assert console == ""
    assert seen["scroll"] <= seen["width"] <= width
    assert seen["dark"] is dark
    assert seen["worst"] >= 4.5
    assert seen["small"] >= 9
    assert seen["images"]


def test_the_probe_sees_what_is_wrong(tmp_path):
    bad = (
        '<!DOCTYPE html><html><body style="background:#fff"><h1 style="color:#bbb;width:2000px">'
        "pale and wide</h1><svg width=200 height=50 viewBox='0 0 200 50'>"
        "<text y=20 font-size=5>tiny</text></svg><script>console.error('loud')</script>"
    )
    seen, console = look(bad, tmp_path, 380, dark=False)
    assert "loud" in console
    assert seen["scroll"] > seen["width"]
    assert seen["worst"] < 4.5 and seen["small"] < 9


def audit(html: str, folder: Path, *, dark: bool) -> list[str]:
    """Violations that axe-core finds. Its script needs the page without its security policy."""
    module = pytest.importorskip("axe_core_python", reason="pip install axe-core-python")
    axe = (Path(module.__file__).parent / "axe.min.js").read_text("utf-8")
    open_page = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", html)
    script = (
        "axe.run().then(r => { document.body.textContent = 'RESULT' + JSON.stringify("
        "r.violations.map(v => `${v.impact} ${v.id}: ${v.help}, ${v.nodes[0].html.slice(0, 99)}`)"
        ") + 'END' + r.passes.length; })"
    )
    page, _ = browse(
        f"{open_page}<script>{axe}</script><script>{script}</script>", folder, dark=dark
    )
    found, _, passed = page.partition("RESULT")[2].partition("END")
    assert int(re.match(r"\d+", passed)[0]) > 15  # it did look
    return json.loads(unescape(found))


@pytest.mark.parametrize(
    ("name", "dark"),
    [
        ("full", False),
        pytest.param("full", True, marks=pytest.mark.slow),
        pytest.param("hostile", False, marks=pytest.mark.slow),
    ],
)
def test_axe_finds_nothing(pages, tmp_path, name, dark):
    assert audit(pages[name], tmp_path, dark=dark) == []


def test_axe_would_find_what_is_wrong(pages, tmp_path):
    bad = pages["full"].replace(
        "</main>", '<img src="data:,"><p style="color:#ddd">pale</p></main>'
    )
    found = " ".join(audit(bad, tmp_path, dark=False))
    assert "image-alt" in found and "color-contrast" in found

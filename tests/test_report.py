"""The report: whole, honest about what is missing, safe, accessible, readable in a browser."""

from __future__ import annotations

import itertools
import os
import re
import xml.etree.ElementTree as ElementTree
from html import escape
from html.parser import HTMLParser

import numpy as np
import pytest
import xarray as xr
from synthetic_results import HOSTILE, hostile_tree, make_tree, reproduction

from pima_physics import report
from pima_physics.errors import InputError, PimaError
from pima_physics.report_format import number, percent, probability, with_error

VOID = {"meta", "link", "br", "img"}
NARROW = {"\u00a0": " ", "\u202f": " "}


class Page(HTMLParser):
    """Tags with attributes and their text; fails on tags that do not close in order."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.open: list[str] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, {k: v or "" for k, v in attrs}))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, {k: v or "" for k, v in attrs}))

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> out of order"

    def handle_data(self, data):
        self.texts.append((self.open[-1] if self.open else "", data))

    def text(self, *skip: str) -> str:
        """What a reader reads, with ordinary spaces."""
        joined = " ".join(t for tag, t in self.texts if tag not in {"style", *skip})
        return re.sub(r"\s+", " ", joined.translate(str.maketrans(NARROW)))

    def named(self, *tags: str) -> list[dict[str, str]]:
        return [attrs for tag, attrs in self.tags if tag in tags]


@pytest.fixture(scope="module")
def html() -> str:
    return report.render(
        make_tree(modalities=("image", "curve", "colour", "hardness")),
        experiment={"data": "lattices.nc"},
    )


@pytest.fixture(scope="module")
def hostile() -> str:
    return report.render(hostile_tree(), experiment={HOSTILE: [HOSTILE]})


def test_page_holds_everything_and_loads_nothing(html):
    page = Page(html)
    assert not {"script", "iframe", "object", "embed"} & {tag for tag, _ in page.tags}
    links = [v for _, attrs in page.tags for k, v in attrs.items() if k.endswith(("href", "src"))]
    assert links and all(link.startswith(("#", "data:")) for link in links)
    assert "@import" not in html and "url(http" not in html
    policy = [a["content"] for a in page.named("meta") if "http-equiv" in a]
    assert policy and policy[0].startswith("default-src 'none'")
    assert len(html.encode()) < 5e6


@pytest.mark.parametrize("which", ["html", "hostile"])
def test_structure_serves_assistive_technology(which, request):
    page = Page(request.getfixturevalue(which))
    assert page.named("html")[0]["lang"] == "en"
    for landmark in ("header", "nav", "main", "footer", "h1"):
        assert len(page.named(landmark)) == 1, landmark
    levels = [int(tag[1]) for tag, _ in page.tags if re.fullmatch(r"h[1-6]", tag)]
    assert all(b - a <= 1 for a, b in itertools.pairwise(levels))
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    targets = {a["href"][1:] for a in page.named("a")} | {
        a["aria-labelledby"] for _, a in page.tags if "aria-labelledby" in a
    }
    assert targets <= set(ids)
    drawings = [a for a in page.named("svg")]
    assert drawings and all(a["role"] == "img" and len(a["aria-label"]) > 20 for a in drawings)
    assert len(page.named("figcaption")) == len(page.named("figure"))
    assert all("scope" in a for a in page.named("th"))
    assert all(a.get("tabindex") == "0" for a in page.named("div") if a.get("class") == "scroll")
    captions = "".join(t for tag, t in page.texts if tag == "figcaption")
    assert captions.count("Look for") + captions.count("Look at") >= len(page.named("figure"))


@pytest.mark.parametrize(
    ("doubts", "said"),
    [
        (["", "not stable", "not stable"], "Do not interpret process and finish. Not stable."),
        (["", "bends <b>", "not stable"], "process: bends <b>; finish: not stable."),
        (["", "bends", ""], "process: bends; finish: the evidence does not support it."),
        (["", "", ""], "Do not interpret process and finish. The evidence does not support it."),
    ],
)
def test_the_summary_says_why_features_are_not_to_be_interpreted(doubts, said) -> None:
    tree = make_tree()
    group = tree["discovery"].to_dataset()
    group["supported"] = ("node", [1, 0, 0])
    group["doubt"] = ("node", np.array(doubts, dtype=object))
    tree["discovery"] = xr.DataTree(group)
    assert said in Page(report.render(tree)).text()


def test_findings_carry_numbers_units_and_errors(html):
    text = Page(html).text()
    assert re.search(
        r"yield stress: rises from 18\d\.\d ± \d\.\d MPa at process 0 to "
        r"2\d\d\.\d ± \d\.\d MPa at process 1",
        text,
    )
    assert "lattice — process, direction not determined (probability 0.98)" in text
    assert "lattice → finish (probability of being joined 0.85, for this direction 0.8" in text
    assert "Markov equiv" in text and "Numbers are only labels" in text
    assert "Do not interpret finish." in text
    assert "6 % of the samples sit within 1 % of a bound of yield_stress" in text
    assert "curve image R² (held out) 0.620" in text
    assert "sha256:0123456789abcdef" in text and "arXiv:2202.03242" in text


def test_calibration_counts_held_out_samples_where_only_those_are_stored():
    tree = make_tree(samples=200)
    held = np.flatnonzero(tree["posterior/split"].values == 2)
    for modality in ("image", "curve"):
        path = f"reconstruction/{modality}"
        tree[path] = xr.DataTree(tree[path].to_dataset().isel(sample=held))
    text = Page(report.render(tree)).text()
    assert f"Counted over {len(held)} held-out samples" in text
    assert "could not be made" not in text


def test_factors_of_intervals_are_shown_where_there_are_any():
    tree = make_tree(samples=60)
    group = tree["reconstruction/curve"].to_dataset().assign_attrs(given="image")
    for samples, shown in ((0, False), (41, True)):
        calibrated = group.assign_attrs(interval_factor=1.37, interval_factor_samples=samples)
        tree["crossmodal/curve"] = xr.DataTree(calibrated)
        text = Page(report.render(tree)).text()
        assert ("curve by 1.37 (from 41 validation samples)" in text) is shown


def test_discrepancies_between_data_and_model_are_named(rng):
    tree = make_tree(samples=200, modalities=("curve",), without=("features", "history"))
    right = Page(report.render(tree)).text()
    assert "Posterior predictive checks" in right and "0 of 6 differ" in right
    group = tree["reconstruction/curve"].to_dataset()
    group["observed"] = group["observed"] + 12 * rng.normal(size=(200, 1))
    tree["reconstruction/curve"] = xr.DataTree(group)
    tree["crossmodal/curve"] = xr.DataTree(group.assign_attrs(given="image"))
    wrong = Page(report.render(tree)).text()
    assert "residuals of neighbours along strain are correlated by 0." in wrong
    assert "curve, from image alone" in wrong
    assert "Too sure" in wrong and "Too sure" not in right


def test_only_directed_edges_get_arrowheads(html):
    graph = next(
        m.group(0)
        for m in re.finditer(r"<svg(?:(?!</svg>).)*</svg>", html, re.DOTALL)
        if 'class="graph"' in m.group(0)
    )
    assert graph.count('class="arrow"') == 1
    assert graph.count('class="edge undirected"') == graph.count('class="edge uncertain"') == 1


def test_a_copy_of_another_feature_is_exposed(html):
    assert "adds only < 1 % to what the other features explain" in Page(html).text()


@pytest.mark.parametrize(
    ("group", "said"),
    [
        ("parameters", "there are no physical parameters"),
        ("discovery", "stored no evidence about its features"),
        ("graph", "stored no graph"),
        ("history", "stored no training history"),
        ("reconstruction", "stored no reconstructions"),
        ("features", "no mean of the data by feature outcome"),
        ("metrics", "measured no prediction of one modality from another"),
        ("posterior", "no value by feature outcome is known"),
    ],
)
def test_a_missing_group_is_said_in_words(html, group, said):
    assert said not in Page(html).text()
    assert said in Page(report.render(make_tree(samples=40, without=(group,)))).text()


def test_missing_variables_and_an_empty_tree():
    tree = make_tree(samples=40)
    for path, name in (
        ("reconstruction/curve", "std"),
        ("features/image", "std"),
        ("graph", "cpdag"),
        ("parameters/curve", "yield_stress_std"),
    ):
        tree[path] = xr.DataTree(tree[path].to_dataset().drop_vars(name))
    assert "directions cannot be judged" in Page(report.render(tree)).text()
    text = Page(report.render(xr.DataTree())).text()
    assert "stored no graph" in text and "stored nothing about where it comes from" in text


def test_small_and_odd_runs():
    Page(report.render(make_tree(samples=1)))
    Page(report.render(make_tree(samples=12, counts=(1, 2, 3))))
    tree = make_tree(samples=30)
    curve = tree["reconstruction/curve"].to_dataset()
    curve["observed"] = curve["observed"].where(curve["sample"] > 10)
    tree["reconstruction/curve"] = xr.DataTree(curve)
    assert "63 %" in Page(report.render(tree)).text()  # 19 of 30 samples observed


def test_page_stays_small_and_says_what_it_leaves_out():
    rng = np.random.default_rng(0)
    names = tuple(f"node {k}" for k in range(8))
    tree = make_tree(
        samples=60,
        nodes=names,
        counts=(12,) * 8,
        modalities=("curve",),
        without=("discovery", "components"),
    )
    for name in ("one", "two", "three"):
        mean = rng.random((8, 12, 90, 90, 3))  # noise: the images that compress worst
        dims = ("node", "outcome", "y", "x", "channel")
        tree[f"features/{name}"] = xr.DataTree(
            xr.Dataset(
                {
                    "mean": (dims, mean),
                    "std": (dims, 0 * mean + 1),
                    "count": (("node", "outcome"), np.full((8, 12), 5)),
                },
                coords={"node": list(names)},
            )
        )
    html = report.render(tree)
    assert len(html.encode()) < 5e6
    text = Page(html).text()
    assert "the 6 of 8 features" in text and "Not drawn, to keep the page small." in text


def test_stated_noise_that_is_too_small_is_called_out(html):
    assert "Too sure" not in html
    tree = make_tree(samples=60)
    observed = tree["reconstruction/curve"]["observed"]
    narrow = reproduction(observed, np.random.default_rng(0), noise=6.0, stated=2.0)
    tree["reconstruction/curve"] = xr.DataTree(narrow)
    assert "Too sure" in report.render(tree)


def test_parameters_at_a_bound_are_called_out(html):
    assert "Parameters at their bounds" not in html
    tree = make_tree(samples=60)
    group = tree["parameters/curve"].to_dataset()
    group["youngs_modulus"].values[:6] = 100.0
    tree["parameters/curve"] = xr.DataTree(group)
    assert (
        "youngs modulus (10 % of the samples, bounds 10.0 to 100 GPa)"
        in Page(report.render(tree)).text()
    )


def test_disagreement_of_score_and_trained_graph_is_called_out(html):
    assert "disagree" not in html
    tree = make_tree(samples=40)
    group = tree["graph"].to_dataset()
    group["adjacency"].values[0, 2] = 0
    tree["graph"] = xr.DataTree(group)
    assert "joined by the score but not in the trained graph" in Page(report.render(tree)).text()


def test_every_string_is_escaped(hostile):
    page = Page(hostile)
    assert "script" not in {tag for tag, _ in page.tags}
    assert not [k for _, attrs in page.tags for k in attrs if k.startswith("on")]
    assert HOSTILE in page.text() and escape(HOSTILE, quote=False).split("'")[0] in hostile
    assert "\x00" not in hostile
    drawings = re.findall(r"<svg.*?</svg>", hostile, re.DOTALL)
    texts = "".join("".join(ElementTree.fromstring(d).itertext()) for d in drawings)
    assert "<script>" in texts  # inside drawings, too, it is text


def test_rendering_repeats_itself_and_leaves_the_tree_alone():
    tree = make_tree(samples=30)
    before = tree.copy(deep=True)
    assert report.render(tree) == report.render(tree)
    assert tree.identical(before)


def test_a_saved_run_gives_the_same_words(tmp_path):
    tree = make_tree(samples=30)
    tree.to_netcdf(tmp_path / "results.nc")
    with xr.open_datatree(tmp_path / "results.nc") as again:
        assert Page(report.render(again)).text() == Page(report.render(tree)).text()


def test_a_section_that_fails_is_said_and_warned(monkeypatch):
    def broken(tree):
        raise KeyError("odd <variable>")

    monkeypatch.setattr(report, "SECTIONS", (("graph", "Graph", broken),))
    with pytest.warns(RuntimeWarning, match="'graph' could not be made"):
        html = report.render(make_tree(samples=20))
    assert "This part could not be made" in html and "odd &lt;variable&gt;" in html


def test_write_is_atomic(tmp_path, monkeypatch):
    target = tmp_path / "report.html"
    assert report.write(make_tree(samples=20), target) == target
    first = target.read_text(encoding="utf-8")
    assert first.startswith("<!DOCTYPE html>")

    def full(source, destination):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(PimaError):
        report.write(make_tree(samples=25), target)
    assert target.read_text(encoding="utf-8") == first
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_anything_but_a_tree_is_refused():
    with pytest.raises(InputError, match="DataTree"):
        report.render({"posterior": 1})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (with_error(205.28, 1.234, "MPa"), "205.3 ± 1.2 MPa"),
        (with_error(70123.4, 310), "70 123 ± 310"),
        (with_error(1.5e9, 2e7, "Hz"), "(1.500 ± 0.020) × 10⁹ Hz"),
        (with_error(-3.2e-5, 4e-7), "(−3.200 ± 0.040) × 10⁻⁵"),
        (with_error(5.0, float("nan"), "s"), "5.000 s"),
        (with_error(float("nan"), 1.0), "n/a"),
        (number(0.98765), "0.988"),
        (number(1234567.0), "1.23 × 10⁶"),
        (number(0), "0"),
        (percent(0.004), "< 1 %"),
        (percent(0.996), "> 99 %"),
        (percent(1.0), "100 %"),
        (probability(0.9999), "> 0.99"),
        (probability(1.0), "1.00"),
        (probability(0.001), "< 0.01"),
    ],
)
def test_numbers_for_people(made, expected):
    assert made.translate(str.maketrans(NARROW)) == expected

"""The report's words for numbers, and what a page must withstand."""

from __future__ import annotations

import base64
import functools
import io
import math
import re
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from lightning_lde.study import AnalysisOptions, QueryResult, StudyAnalysis
from lightning_lde.study._comparisons import comparisons_of
from lightning_lde.study._covariates import covariate_notes, covariates_of
from lightning_lde.study._effects import effects_of
from lightning_lde.study._measures import measures_of, stored_measures
from lightning_lde.study._power import needs_of
from lightning_lde.study._slopes import Evidence, configuration_results
from lightning_lde.ui import answer, save_figures, study_figures, study_report, verdict
from lightning_lde.ui._drawing import png_of, svg_of, with_palette
from lightning_lde.ui._words import amount, number, probability, signed

QUERIES = (
    "settings of the project",
    "metric per data set and configuration",
    "metric per run and configuration",
    "diversity per data set",
    "MAML and pretraining on the same tasks",
    "diversity by every probe and method",
)
MAML = {"method": "maml", "inner_steps": 5, "ways": 5, "shots": 1}
BASE = {"method": "pretraining", "inner_steps": None, "ways": 5, "shots": 1}


def analysis_of(names: list[str], slope: float, *, base_slope: float = 0.0, confounded: bool = False) -> StudyAnalysis:
    """The same figures for the same words."""
    return computed(tuple(names), slope, base_slope, confounded)


@functools.cache
def computed(names: tuple[str, ...], slope: float, base_slope: float, confounded: bool) -> StudyAnalysis:
    """Figures of rows as the queries give them: MAML follows diversity with a slope, pretraining with another."""
    x = np.linspace(0.1, 0.3, len(names))
    noise = 0.001 * np.cos(np.arange(len(names)) * 7.0)
    means = {"maml": 0.5 + slope * x + noise, "pretraining": 0.5 + base_slope * x + 10 * noise}
    ids = [f"id {place}" for place in range(len(names))]
    # By 10 to the power of diversity, classes have a logarithm that is diversity itself.
    classes = [10.0 ** (10 * value) if confounded else 5 + place % 3 for place, value in enumerate(x)]
    datasets = [
        {
            "dataset_id": one, "dataset": name, "n_classes": n, "n_samples": 9, "complexity": None,
            "diversity": float(value), "diversity_low": 0.0, "diversity_high": 1.0, "diversity_n_tasks": 30,
            "diversity_method": "m", "diversity_probe_id": "p",
        }
        for one, name, n, value in zip(ids, names, classes, x, strict=True)
    ]  # fmt: skip
    results, runs, pairs = [], [], []
    for configuration in (MAML, BASE):
        for one, name, value in zip(ids, names, means[str(configuration["method"])], strict=True):
            common = {**configuration, "dataset_id": one, "dataset": name}
            results.append({**common, "value": float(value), "sd": 0.1, "n_tasks": 50, "n_runs": 2})
            runs += [{**common, "run_id": f"{one} {seed}", "value": value + 0.001 * seed} for seed in range(2)]
    for place, (one, name) in enumerate(zip(ids, names, strict=True)):
        for task in range(5):
            values = {key: float(mean[place]) + 0.01 * math.sin(task + len(key)) for key, mean in means.items()}
            pairs.append({**MAML, "dataset_id": one, "dataset": name, **values})
    covariates, notes = covariates_of(datasets), ["a note with <b>"]
    diversity = {row["dataset_id"]: row["diversity"] for row in datasets}
    configurations = configuration_results(Evidence(results, runs, diversity, covariates, {}), notes)
    return StudyAnalysis(
        lake="lake", project="p", metric="accuracy", data_until=datetime(2026, 1, 2, tzinfo=timezone.utc),
        options=AnalysisOptions(), settings_id="5e77", other_settings=(), datasets=tuple(datasets),
        covariates=covariates, configurations=configurations, comparisons=comparisons_of(configurations, {}, notes),
        effects=effects_of(pairs, 0.01, notes),
        measures=measures_of(stored_measures(datasets), datasets, configurations, {}),
        needs=needs_of(len(names), 2, 0.2), run_ids=("r",),
        queries=tuple(QueryResult(name, "select '<b>' as x", []) for name in QUERIES),
        notes=(*notes, *covariate_notes(covariates, len(names))),
    )  # fmt: skip


def sets(n: int) -> list[str]:
    return [f"set {place}" for place in range(n)]


def test_the_verdict_follows_the_figures() -> None:
    rising, flat = analysis_of(sets(8), slope=2.0), analysis_of(sets(8), slope=0.0)
    assert "for 1 of 2 configurations: maml, 5 steps." in verdict(rising)[1]
    assert "for none of 2 configurations." in verdict(flat)[1]
    assert "rise with diversity? Shown for maml, 5 steps. More for MAML than for pretraining? Shown for maml" in (
        answer(rising)
    )
    assert answer(flat).count("Not shown for any configuration, and not ruled out.") == 2
    falling = answer(analysis_of(sets(8), slope=-2.0))
    assert "It falls for maml, 5 steps." in falling
    assert "Less for maml, 5 steps." in falling


def test_the_verdict_says_what_is_ruled_out_and_what_is_needed() -> None:
    analysis = analysis_of(sets(12), slope=0.0)
    text = " ".join(verdict(analysis))
    highest = max(one.r_squared_bounds[1] for one in analysis.configurations)
    assert "They do not rule out that there is none for all 2 configurations." in text
    assert "none for" not in " ".join(verdict(analysis_of(sets(12), slope=2.0, base_slope=2.0)))
    assert f"rule out an R² above {highest:.2f}" in text
    assert "12 data sets find a true R² of 0.20 with a chance of 32 %; 80 % need 36 data sets" in text
    assert "whether the answer rests on that is not known" in text


def test_what_cannot_be_told_from_diversity_is_not_claimed() -> None:
    analysis = analysis_of(sets(8), slope=2.0, confounded=True)
    assert analysis.configurations[0].p_holm < 0.05
    assert "but diversity and classes, log10 change together exactly" in answer(analysis)
    assert "Shown" not in answer(analysis)
    page = study_report(analysis)
    assert "Confounded: diversity and classes, log10 change together exactly over 8 data sets (r = +1.000)" in page
    assert "changes with diversity exactly, so that they cannot be told apart" in page


def test_comparisons_are_judged_after_correction() -> None:
    analysis = analysis_of(sets(8), slope=2.0)
    (one,) = analysis.comparisons
    assert one.difference.p_williams < 0.05
    said = next(sentence for sentence in verdict(analysis) if "Williams" in sentence)
    assert said.endswith("in 1 of 1 comparisons: lower for MAML in 0, higher in 1.")
    corrected = replace(analysis, comparisons=(replace(one, p_holm=0.06, p_slope_holm=0.07),))
    assert "in 0 of 1 comparisons." in " ".join(verdict(corrected))
    assert "More for MAML than for pretraining? Not shown" in answer(corrected)
    assert "<td>0.060</td>" in study_report(corrected)


def test_notes_and_the_meaning_of_heterogeneity_stand_in_the_page() -> None:
    page = study_report(analysis_of(sets(5), slope=1.0))
    assert "<li>a note with &lt;b&gt;</li>" in page
    assert "differences between training seeds\ncount as heterogeneity between data sets" in page


def test_each_figure_says_n_interval_and_query() -> None:
    figures = study_figures(analysis_of(sets(5), slope=1.0))
    assert [one.name for one in figures] == ["scatter", "slopes", "probe-sensitivity", "forest-1"]
    for one in figures:
        assert re.search(r"n = 5 data sets", one.caption)
        assert "95 %" in one.caption
        (named,) = re.findall(r"Quer(?:y|ies): (.*)\.", one.caption)
        assert all(query in QUERIES or query.startswith("stored embeddings") for query in named.split("; "))
        root = ElementTree.fromstring(one.svg)
        assert root.get("role") == "img"
        assert one.alternative in str(root.get("aria-label"))


def test_figures_are_files_that_hold_their_captions(tmp_path: Path) -> None:
    analysis = analysis_of(sets(5), slope=1.0)
    files = save_figures(analysis, tmp_path / "plots")
    assert [path.name for path in files[:2]] == ["scatter.png", "scatter.svg"]
    first = {path.name: path.read_bytes() for path in files}
    assert first["scatter.png"].startswith(b"\x89PNG")
    # iTXt holds UTF-8 and tEXt Latin-1; these words are the same in both.
    assert b"n = 5 data sets, one point each" in first["scatter.png"]
    assert b"n = 5 data sets, one point each" in first["scatter.svg"]
    again = study_figures(analysis)[0]
    assert png_of(again.drawn, again.title, again.caption) == first["scatter.png"]


def png_with(pixels: np.ndarray[Any, Any], **texts: str) -> bytes:
    buffer, chunks = io.BytesIO(), PngImagePlugin.PngInfo()
    for name, text in texts.items():
        chunks.add_text(name, text)
    Image.fromarray(pixels).save(buffer, "png", pnginfo=chunks)
    return buffer.getvalue()


def test_a_palette_keeps_256_colours_the_texts_and_what_is_transparent() -> None:
    rng = np.random.default_rng(0)
    colours = np.column_stack([rng.integers(0, 256, (256, 3)), np.full(256, 255)]).astype(np.uint8)
    pixels = colours[rng.integers(0, 256, (60, 80))]
    whole = png_with(pixels, Title="R² of α")
    packed = with_palette(whole)
    with Image.open(io.BytesIO(packed)) as image:
        assert (image.mode, image.info["Title"]) == ("P", "R² of α")
        np.testing.assert_array_equal(np.asarray(image.convert("RGBA")), pixels)
    assert len(packed) < len(whole) / 2
    pixels[0, 0, 3] = 0
    assert with_palette(png_with(pixels)) == png_with(pixels)
    flat = png_with(np.full((1, 1, 4), 255, dtype=np.uint8))
    assert with_palette(flat) == flat


def test_pictures_inside_an_svg_have_a_palette_whatever_names_say() -> None:
    from matplotlib.figure import Figure

    figure, name = Figure(), '"data:image/png;base64,no picture" <image href="data:image/png;base64,none"'
    axis = figure.subplots()
    axis.imshow(np.random.default_rng(0).random((40, 40)), cmap="cividis")
    axis.set_title(name)
    root = ElementTree.fromstring(svg_of(figure, name))
    (picture,) = root.iterfind(".//{http://www.w3.org/2000/svg}image")
    data = picture.get("{http://www.w3.org/1999/xlink}href", "").removeprefix("data:image/png;base64,")
    with Image.open(io.BytesIO(base64.b64decode(data, validate=True))) as image:
        assert image.mode == "P"
    assert name in "".join(root.itertext())


def test_data_sets_of_one_name_keep_their_own_figures() -> None:
    page = study_report(analysis_of(["twin"] * 5, slope=2.0))
    table = page[page.index('id="datasets"') :]
    values = re.findall(r"<td>(\d\.\d{3}) <span", table)
    assert len(set(values)) == 2 * 5


def test_hostile_names_are_text() -> None:
    names = ["<script>alert(1)</script>", "a & b", "$x^2$ {braces}", "🙂 – ü", "x" * 300]
    page = study_report(analysis_of(names, slope=1.0))
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "select &#39;&lt;b&gt;&#39; as x" in page


def test_a_page_is_the_same_twice_and_needs_nothing_beside_itself() -> None:
    analysis = analysis_of([f"set {n}" for n in range(5)], slope=1.0)
    page = study_report(analysis)
    assert page == study_report(replace(analysis))
    assert "src=" not in page
    assert "@import" not in page


def test_missing_numbers_are_dashes() -> None:
    assert (number(None), number(math.nan), signed(None), probability(math.nan)) == ("–", "–", "–", "–")
    assert (number(-0.5), signed(0.25, 1), probability(0.0004)) == ("−0.500", "+0.2", "< 0.001")
    assert (number(-math.inf), amount(0.1, "accuracy"), amount(0.1, "loss")) == ("−∞", "+10.0 points", "+0.100")


@pytest.mark.parametrize("missing", [0, 2, 5])
def test_a_query_that_is_not_there_is_noticed(missing: int) -> None:
    analysis = analysis_of([f"set {n}" for n in range(5)], slope=1.0)
    queries = tuple(query for index, query in enumerate(analysis.queries) if index != missing)
    with pytest.raises(Exception, match="has no attribute"):
        study_report(replace(analysis, queries=queries))

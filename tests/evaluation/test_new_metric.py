"""A registered metric appears in every result and everything that shows results, without another edit."""

import numpy as np
import pandas as pd
import pytest
from huggingface_hub import ModelCard
from matplotlib.figure import Figure

from recipevis.data.tables.samples import read_samples
from recipevis.evaluation import metrics, summary
from recipevis.evaluation.metrics import Metric
from recipevis.report import page, plots, scored_card
from tests.evaluation.conftest import score

NEW = {"brightness": "brightness, levels", "clip_distance": "CLIP distance of sets"}  # key: heading


def brightness(generated, truth):
    return abs(float(generated.mean() - truth.mean()))


def distance(generated, truth):
    return float(np.linalg.norm(generated.mean(0) - truth.mean(0)))


@pytest.fixture
def result(generated, tmp_path, monkeypatch):
    """What the stage `evaluate` computes with two more metrics, one of image pairs and one of sets."""
    registered = (
        Metric(
            "brightness", "brightness", "pair", brightness, False, "difference in brightness", "levels", headline=True
        ),
        Metric("distance", "distance of sets", "set", distance, False, "of means from {encoder}", headline=("clip",)),
    )
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, *registered))
    samples, scored = read_samples(generated / "samples.csv"), score(generated)
    rows, margins = summary.summarise(scored, 50, 0), summary.margins(scored, 50, 0)
    drift = summary.drift(scored, 50, 0)
    shown = {"recipes": summary.recipes(scored), "images": scored.table, "samples": samples, "folder": generated}
    return {"rows": rows, "margins": margins, "drift": drift} | shown


def test_it_is_in_the_results(result):
    headline = summary.headline(result["rows"])
    assert headline["brightness"] == 5
    assert headline["clip_distance"] == pytest.approx(5 * np.sqrt(3), rel=1e-4)
    for rows in (result["rows"], result["margins"]):
        for modes in rows.values():
            for groups in modes.values():
                for group, name in ((group, name) for group in groups for name in NEW):
                    assert not groups[group]["images"] or groups[group][name]["low"] is not None
    assert result["drift"].brightness.tolist() == [5, 5, 5]


def test_it_is_in_the_plot(result, tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: figures.append(figure))
    plots.drift(result["drift"], tmp_path / "drift.png")
    titles = [axes.get_title(loc="left") for axes in figures[0].axes]
    assert any(NEW["brightness"] in title for title in titles)
    assert not any(NEW["clip_distance"] in title for title in titles)  # a set metric has no value per step


def test_it_is_in_the_card(result, tmp_path):
    (tmp_path / "README.md").write_text("---\nlibrary_name: diffusers\n---\n\n## Limits\n")
    headline = summary.headline(result["rows"])
    scored_card.write(tmp_path / "model_card.md", tmp_path / "README.md", "concat", headline)
    card = ModelCard.load(tmp_path / "model_card.md")
    assert NEW.keys() <= {value.metric_type for value in card.data.eval_results}
    assert all(f"| {heading} |" in card.text for heading in NEW.values())


def test_it_is_on_the_page(result):
    counts = dict.fromkeys(("videos", "videos_with_frames", "steps", "triplets"), 1)
    subsets = ("training", "validation")
    backbone = {"source": "kitchen"}
    experiment = {"model": "concat", "seed": 0, "cycle_weight": 0.0, "steps": 1, "data_hash": "", "backbone": backbone}
    training = {"steps": 1, "loss": 1.0, "validation_loss": 1.0, "fuser_parameters": 1, "unet_parameters": 1}
    text = page.page(
        {"experiment": experiment} | {name: result[name] for name in ("rows", "margins", "recipes")},
        result["images"],
        result["samples"],
        result["folder"],
        strips=1,
        training=training,
        dataset={name: {"recipe_types": 1} for name in subsets},
        survivors={name: counts | {"dropped": {}, "recipe_types": {}} for name in subsets},
        history=pd.DataFrame({key: [1.0] for key in ("step", "loss", "denoising", "cycle", "validation_loss")}),
        drift=result["drift"],
    )
    for heading in NEW.values():
        assert text.count(heading) >= 1 + 2 + 2 + 1  # tile, two tables and their differences, the explanation
    assert "5.00" in text

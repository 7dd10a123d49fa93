"""The card of a model: what it tells the hub and a reader."""

import hashlib
import json

import pandas as pd
import pytest
from huggingface_hub import ModelCard

from recipevis import model_card

TABLE = pd.DataFrame({"subset": ["training"] * 3 + ["validation"], "sentence": ["a", "b", "c", "d"]})
HUB = {"source": "hub", "stable_diffusion": "CompVis/stable-diffusion-v1-4@123", "clip": "openai/clip@456"}
KITCHEN = {"source": "kitchen", "stable_diffusion": "kitchen", "clip": "kitchen"}
PARAMETERS = {"fuser": "concat", "seed": 0, "train": {"steps": 7, "ema": None}, "cycle": {"weight": 1.0}}


@pytest.fixture
def card(tmp_path):
    """A function: the card of a model."""
    (tmp_path / "training.json").write_text(json.dumps({"steps": 7, "validation_loss": 0.125}))

    def written(origin=HUB, dataset="youtube", table=TABLE) -> ModelCard:
        model_card.write(tmp_path, table, origin, dataset, PARAMETERS)
        return ModelCard.load(tmp_path / "README.md")

    return written


def test_what_a_model_was_made_from(card):
    made = card()
    assert made.data.license == "creativeml-openrail-m"
    assert made.data.base_model == ["CompVis/stable-diffusion-v1-4", "openai/clip"]
    assert made.data.library_name == "diffusers"
    for told in ("stable-diffusion-v1-4@123, CreativeML OpenRAIL-M", "openai/clip@456, MIT", "YouTube's terms"):
        assert told in made.text
    assert "3 for training, 1 for validation" in made.text
    for row in (
        "| validation_loss | 0.125 |",
        "| `train.steps` | 7 |",
        "| `train.ema` | – |",
        "| `cycle.weight` | 1.0 |",
    ):
        assert row in made.text


def test_the_hash_is_that_of_the_triplets(card):
    assert hashlib.sha256(TABLE.to_csv(index=False).encode()).hexdigest() in card().text
    assert card().text == card().text != card(table=TABLE.assign(sentence="e")).text


def test_the_kitchens_model_is_drawn_as_the_demo_draws(card):
    made = card(KITCHEN, "kitchen")
    assert made.data.license == "apache-2.0"
    assert made.data.base_model is None
    assert "steps=3, guidance=1.0" in made.text
    assert "steps=50, guidance=7.5" in card().text


def test_scores_are_told_to_reader_and_hub(card, tmp_path):
    card()
    metrics = {"psnr": 18.5, "ssim": 0.7, "teacher_forced": {"psnr": 20.5, "ssim": 0.8}}
    model_card.write_with_metrics(tmp_path, metrics, tmp_path)
    scored = ModelCard.load(tmp_path / "model_card.md")
    assert {result.metric_type: result.metric_value for result in scored.data.eval_results} == {
        "psnr": 18.5,
        "ssim": 0.7,
    }
    assert "| psnr | 18.5 | 20.5 |" in scored.text
    assert scored.text.index("## Scores") < scored.text.index("## Limits")
    assert "## Scores" not in (tmp_path / "README.md").read_text()


def test_every_source_has_its_licences():
    from recipevis.parameters import Backbone, Dataset

    sources = {kind: set(kind.model_fields["source"].annotation.__args__) for kind in (Backbone, Dataset)}
    assert model_card._BACKBONE_LICENCES.keys() == model_card._HUB_LICENCES.keys() == sources[Backbone]
    assert model_card._DATASET_LICENCES.keys() == sources[Dataset]

"""The card of a model: what it tells the hub and a reader."""

import hashlib
import json
import re
from pathlib import Path

import pandas as pd
import pytest
from huggingface_hub import ModelCard
from ruamel.yaml import YAML

from recipevis.config import BackboneConfig, DatasetConfig, TrainConfig, describe, load
from recipevis.evaluation.glossary import METRICS
from recipevis.report import model_card

ROOT = Path(__file__).resolve().parents[2]
TABLE = pd.DataFrame({"subset": ["training"] * 3 + ["validation"], "sentence": ["a", "b", "c", "d"]})
HUB = {
    "source": "hub",
    "stable_diffusion": "CompVis/stable-diffusion-v1-4@123",
    "clip": "openai/clip-vit-large-patch14@456",
}
KITCHEN = {"source": "kitchen", "stable_diffusion": "kitchen", "clip": "kitchen"}
PARAMETERS = {
    "fuser": "concat",
    "fuser_residual": True,
    "train": {"steps": 7, "learning_rate": 3e-7, "ema": None},
    "cycle": {"weight": 1.0},
}
TRAINING = {
    "steps": 7,
    "loss": None,
    "validation_loss": 0.25789792835712433,
    "fuser_parameters": 725824,
    "unet_parameters": 9,
}
METRIC_VALUES = {"psnr": 18.5, "ssim": 0.70001, "teacher_forced": {"psnr": 20.513, "ssim": 0.8}}


@pytest.fixture
def card(tmp_path):
    """A function: the card of a model."""
    (tmp_path / "training.json").write_text(json.dumps(TRAINING))

    def written(origin=HUB, dataset="youtube", table=TABLE, sees=(True, True)) -> ModelCard:
        model_card.write(tmp_path, table, origin, dataset, PARAMETERS, sees)
        return ModelCard.load(tmp_path / "README.md")

    return written


@pytest.fixture
def scored(card, tmp_path):
    """A function: the card with scores."""

    def written(origin=HUB, **asked) -> ModelCard:
        card(origin)
        model_card.write_with_metrics(tmp_path, "concat", asked, METRIC_VALUES, tmp_path)
        return ModelCard.load(tmp_path / "model_card.md")

    return written


def rows(text: str, heading: str) -> dict[str, list[str]]:
    """The rows of the tables in a section, by their first cell."""
    section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in re.findall(r"^\|.*\|$", section, re.M)]
    return {first.strip("`"): rest for first, *rest in cells}


def example(text: str) -> str:
    """The card's, or a page's, example that draws."""
    return next(block for block in re.findall(r"^```python\n(.*?)^```", text, re.M | re.S) if "RecipePipeline" in block)


def test_what_a_model_was_made_from(card):
    made = card()
    assert made.data.license == "creativeml-openrail-m"
    assert made.data.base_model == ["CompVis/stable-diffusion-v1-4", "openai/clip-vit-large-patch14"]
    assert made.data.library_name == "diffusers"
    assert made.data.model_name is None  # the hub knows it beside scores alone
    told = rows(made.text, "What it was made from")
    assert told["UNet before training, VAE, text encoder"] == [
        "CompVis/stable-diffusion-v1-4@123",
        "CreativeML OpenRAIL-M",
    ]
    assert told["CLIP, the image encoder"] == ["openai/clip-vit-large-patch14@456", "MIT"]
    assert "YouTube's terms" in told["recipes and frames"][1]
    assert "3 triplets for training, 1 for validation" in made.text


@pytest.mark.parametrize(
    ("sees", "told"),
    [
        ((True, True), "the step's sentence and the image before it"),
        ((True, False), "the step's sentence alone"),
        ((False, True), "the image before it alone"),
    ],
)
def test_what_an_image_is_drawn_from(card, sees, told):
    assert f"each image from {told}.\n`concat`" in card(sees=sees).text


def test_numbers_are_rounded_and_explained(card):
    told = rows(card().text, "Training")
    assert told["steps"] == ["7", "optimizer steps"]
    assert told["loss"][0] == "–"
    assert told["validation_loss"][0] == "0.2579"
    assert told["fuser_parameters"][0] == "725,824"
    assert told["fuser_residual"] == ["true", describe()["fuser_residual"]]
    assert told["train.learning_rate"] == ["3e-07", describe()["train.learning_rate"]]
    assert told["train.ema"][0] == "–"
    assert told["cycle.weight"][0] == "1"
    assert all(explained for row in told.values() if row != ["", ""] for explained in row[1:] if row[0] != "value")


def test_the_hash_is_that_of_the_triplets(card):
    assert hashlib.sha256(TABLE.to_csv(index=False).encode()).hexdigest() in card().text
    assert card().text == card().text != card(table=TABLE.assign(sentence="e")).text


def test_the_example_is_the_readmes(card, scored):
    """A kitchen's card, once it says how it was drawn, shows the README's lines; another's differs in its sentences."""
    readme = example((ROOT / "README.md").read_text(encoding="utf-8"))
    assert example(scored(KITCHEN, steps=3, guidance=1.0, image_guidance=None).text) == readme
    assert example(card(KITCHEN, "kitchen").text) == readme.replace(", steps=3, guidance=1)", ")")
    changed = set(example(card().text).splitlines()) ^ set(example(card(KITCHEN).text).splitlines())
    assert len(changed) == 2
    assert all(line.startswith("for step, sentence in enumerate(") for line in changed)


def test_the_example_draws_as_the_scored_images_were_drawn(card, scored):
    assert "reports/model_card.md" in card().text
    made = scored(steps=50, guidance=7.5, image_guidance=2.0).text
    assert "[random], steps=50, guidance=7.5, image_guidance=2)[0]" in made
    assert "The images scored below were drawn with `steps=50, guidance=7.5, image_guidance=2`." in made
    assert "reports/model_card.md" not in made


def test_scores_are_told_to_reader_and_hub(scored, tmp_path):
    made = scored(steps=3, guidance=1.0)
    assert made.data.model_name == "recipevis-concat"
    assert {result.metric_type: result.metric_value for result in made.data.eval_results} == {"psnr": 18.5, "ssim": 0.7}
    assert made.data.eval_results[0].metric_name == "PSNR, dB (higher is better)"
    told = rows(made.text, "Scores")
    assert told["PSNR, dB"] == ["higher is better", "18.50", "20.51", METRICS["psnr"].text]
    assert told["SSIM"] == ["higher is better", "0.7000", "0.8000", METRICS["ssim"].text]
    assert made.text.index("## Scores") < made.text.index("## Limits")
    assert "## Scores" not in (tmp_path / "README.md").read_text()


def test_a_card_ends_in_one_newline(scored, tmp_path):
    scored(steps=3)
    for name in ("README.md", "model_card.md"):
        assert re.search(r"[^\n]\n\Z", (tmp_path / name).read_text()), name


@pytest.mark.parametrize(
    ("stable_diffusion", "clip", "licence", "words"),
    [
        ("stable-diffusion-v1-5/stable-diffusion-v1-5@1", HUB["clip"], "creativeml-openrail-m", ["OpenRAIL-M", "MIT"]),
        ("stabilityai/stable-diffusion-2@1", HUB["clip"], "other", ["see its page", "MIT"]),
        ("you/stable-diffusion-v1-4@1", "laion/CLIP-ViT-L-14@1", "other", ["see its page", "see its page"]),
        (HUB["stable_diffusion"], "openai/clip-vit-base-patch32@1", "creativeml-openrail-m", ["OpenRAIL-M", "MIT"]),
    ],
)
def test_a_licence_is_claimed_where_it_is_known(card, stable_diffusion, clip, licence, words):
    made = card({"source": "hub", "stable_diffusion": stable_diffusion, "clip": clip})
    assert made.data.license == licence
    told = rows(made.text, "What it was made from")
    assert [
        told[part][1].split("ML ")[-1]
        for part in ("UNet before training, VAE, text encoder", "CLIP, the image encoder")
    ] == words


def test_the_kitchens_model_is_ours(card):
    made = card(KITCHEN, "kitchen")
    assert made.data.license == "apache-2.0"
    assert made.data.base_model is None


def test_every_source_has_its_licences():
    sources = {kind: set(kind.model_fields["source"].annotation.__args__) for kind in (BackboneConfig, DatasetConfig)}
    assert model_card._BACKBONE_LICENCES.keys() == sources[BackboneConfig]
    assert model_card._DATASET_LICENCES.keys() == sources[DatasetConfig]


def test_the_card_names_no_parameter_that_dvc_does_not_watch():
    """Else the model's bytes would depend on what says how it was trained, and DVC would not know."""
    watched = YAML(typ="safe", pure=True).load((ROOT / "dvc.yaml").read_text())["stages"]["train"]["params"]
    watched = {key.partition(".")[2] for key in watched if key.startswith("train.")}
    assert watched == load(ROOT / "params.yaml").train.model_dump(exclude=TrainConfig.HOW).keys()
    assert TrainConfig.model_fields.keys() >= TrainConfig.HOW

"""The card of a model, without and with its scores: what it says to the hub and to a reader."""

import hashlib
import re

import pandas as pd
import pytest
from huggingface_hub import ModelCard
from PIL import Image

from recipevis import config
from recipevis.evaluation import metrics
from recipevis.model.networks import Backbone
from recipevis.report import model_card, scored_card
from recipevis.sampling.pipeline import RecipePipeline, assemble
from recipevis.training.trainer import new_conditioner

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
    "condition": "replace",
    "previous_latent": False,
    "first_latent": False,
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
SAMPLING = {"num_inference_steps": 50, "guidance_scale": 7.5, "image_guidance_scale": None}
SCORES = {"psnr": 18.5, "ssim": 0.70001, "teacher_forced": {"psnr": 20.513, "ssim": 0.8}}
PARTS = ("UNet before training, VAE, text encoder", "CLIP, the image encoder")


@pytest.fixture
def card(tmp_path):
    """A function: the card of a model without scores."""

    def written(backbone=HUB, dataset="youtube", triplets=TABLE, **changes) -> ModelCard:
        settings = {"training": TRAINING, "parameters": PARAMETERS, "sampling": SAMPLING}
        settings |= {"dataset_licence": "by hand", "uses_text": True, "uses_image": True} | changes
        model_card.write(tmp_path / "README.md", backbone=backbone, dataset=dataset, triplets=triplets, **settings)
        return ModelCard.load(tmp_path / "README.md")

    return written


@pytest.fixture
def scored(card, tmp_path):
    """The card with scores."""
    card()
    scored_card.write(tmp_path / "model_card.md", tmp_path / "README.md", "concat", SCORES)
    return ModelCard.load(tmp_path / "model_card.md")


def rows(text: str, heading: str) -> dict[str, list[str]]:
    """The rows of the tables in a section, by their first cell."""
    section = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in re.findall(r"^\|.*\|$", section, re.M)]
    return {first.strip("`"): rest for first, *rest in cells}


def test_what_a_model_was_made_from(card):
    made = card()
    assert made.data.license == "creativeml-openrail-m"
    assert made.data.base_model == ["CompVis/stable-diffusion-v1-4", "openai/clip-vit-large-patch14"]
    assert made.data.library_name == "diffusers"
    assert made.data.model_name is None  # the hub wants it with scores only
    table = rows(made.text, "What it was made from")
    assert table[PARTS[0]] == ["CompVis/stable-diffusion-v1-4@123", "CreativeML OpenRAIL-M"]
    assert table[PARTS[1]] == ["openai/clip-vit-large-patch14@456", "MIT"]
    assert table["recipes and frames"] == ["youtube", "by hand"]
    assert "3 triplets for training, 1 for validation" in made.text


@pytest.mark.parametrize(("text", "image"), [(True, True), (True, False), (False, True)])
def test_the_inputs_are_those_of_the_fuser(card, text, image):
    first = card(uses_text=text, uses_image=image).text.partition("```")[0]
    assert ("sentence" in first, "previous image" in first) == (text, image)


@pytest.mark.parametrize("latent", [True, False])
@pytest.mark.parametrize("condition", ["replace", "append"])
def test_how_the_conditions_reach_the_unet(card, latent, condition):
    said = card(parameters=PARAMETERS | {"previous_latent": latent, "condition": condition}).text.partition("```")[0]
    assert ("latent" in said) == latent
    assert ("follow" in said) == (condition == "append")


def test_numbers_are_rounded_and_explained(card):
    table = rows(card().text, "Training")
    described = config.describe()
    assert table["steps"] == ["7", "optimizer steps"]
    assert table["loss"][0] == "–"
    assert table["validation_loss"][0] == "0.2579"
    assert table["fuser_parameters"][0] == "725,824"
    assert table["fuser_residual"] == ["true", described["fuser_residual"]]
    assert table["train.learning_rate"] == ["3e-07", described["train.learning_rate"]]
    assert table["train.ema"][0] == "–"
    assert table["cycle.weight"][0] == "1"
    assert all(explained for row in table.values() if row != ["", ""] for explained in row[1:] if row[0] != "value")


def test_the_hash_is_that_of_the_triplets(card):
    assert hashlib.sha256(TABLE.to_csv(index=False).encode()).hexdigest() in card().text
    assert card().text == card().text != card(triplets=TABLE.assign(sentence="e")).text


def test_the_sampling_defaults_are_shown(card):
    text = card().text
    assert "`num_inference_steps=50`, `guidance_scale=7.5`" in text
    assert "image_guidance_scale" not in text


def example(text: str) -> str:
    (found,) = re.findall(r"^```python\n(.*?)^```", text, re.M | re.S)
    return found


def test_the_example_runs(card, tiny_backbone, tmp_path, monkeypatch):
    backbone = Backbone(tiny_backbone)
    conditioner = new_conditioner(backbone, "attend_to_image", {"hidden": 4}, 3, seed=0)
    pipeline = assemble(backbone, conditioner, backbone.unet, pixels=32, blank="white", num_inference_steps=1)
    monkeypatch.setattr(RecipePipeline, "from_pretrained", lambda folder: pipeline)
    monkeypatch.chdir(tmp_path)
    exec(example(card().text), {})
    assert [Image.open(tmp_path / f"step-{number}.png").size for number in (1, 2)] == [(32, 32)] * 2


def test_the_kitchen_has_its_own_example(card):
    """Its model knows no other words."""
    assert example(card(KITCHEN, "kitchen").text) != example(card().text)


def test_scores_are_shown_to_reader_and_hub(scored, tmp_path):
    assert scored.data.model_name == "recipevis-concat"
    results = scored.data.eval_results
    assert {result.metric_type: result.metric_value for result in results} == {"psnr": 18.5, "ssim": 0.7}
    assert results[0].metric_name == "PSNR, dB (higher is better)"
    table, named = rows(scored.text, "Scores"), metrics.named()
    assert table["PSNR, dB"] == ["higher is better", "18.50", "20.51", named["psnr"].description]
    assert table["SSIM"] == ["higher is better", "0.7000", "0.8000", named["ssim"].description]
    assert scored.text.index("## Scores") < scored.text.index("## Limits")
    assert "## Scores" not in (tmp_path / "README.md").read_text()


@pytest.mark.usefixtures("scored")
def test_a_card_ends_in_one_newline(tmp_path):
    for name in ("README.md", "model_card.md"):
        assert re.search(r"[^\n]\n\Z", (tmp_path / name).read_text()), name


@pytest.mark.parametrize(
    ("stable_diffusion", "clip", "licence", "known"),
    [
        ("stable-diffusion-v1-5/stable-diffusion-v1-5@1", HUB["clip"], "creativeml-openrail-m", (True, True)),
        ("stabilityai/stable-diffusion-2@1", HUB["clip"], "other", (False, True)),
        ("you/stable-diffusion-v1-4@1", "laion/CLIP-ViT-L-14@1", "other", (False, False)),
        (HUB["stable_diffusion"], "openai/clip-vit-base-patch32@1", "creativeml-openrail-m", (True, True)),
    ],
)
def test_a_licence_is_claimed_only_where_it_is_known(card, stable_diffusion, clip, licence, known):
    made = card({"source": "hub", "stable_diffusion": stable_diffusion, "clip": clip})
    assert made.data.license == licence
    table = rows(made.text, "What it was made from")
    words = ("CreativeML OpenRAIL-M", "MIT")
    assert tuple(table[part][1] == word for part, word in zip(PARTS, words, strict=True)) == known


def test_the_kitchen_model_has_the_projects_licence(card):
    made = card(KITCHEN, "kitchen")
    assert made.data.license == "apache-2.0"
    assert made.data.base_model is None

"""`recipevis generate`: a recipe file in, a storyboard out; bad input is refused in one line before anything runs."""

import json
import os
from dataclasses import asdict

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from recipevis.cli.generate import read_recipe
from recipevis.cli.main import app
from recipevis.errors import InputError
from recipevis.model.conditions import Conditioner
from recipevis.model.networks import Backbone
from recipevis.model.shapes import fuser_shapes
from recipevis.sampling import pipeline, rollout


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Call the command in a folder with a recipe and with a model that generates plain colours."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.txt").write_text("\n  melt the butter \n\n\nfry an egg, slowly\n", encoding="utf-8")
    (tmp_path / "model").mkdir()
    asked = {}

    def load_pipeline(folder, device):
        if list(folder.iterdir()):
            raise InputError(f"{folder}: not a RecipeVis model")
        asked["device"] = str(device)
        return "pipeline"

    def generate_recipe(sampler, sentences):
        asked.update(sampler=sampler, sentences=sentences)
        for number in range(len(sentences)):
            yield np.full((64, 64, 3), 60 * number, np.uint8)

    monkeypatch.setattr(pipeline, "load_pipeline", load_pipeline)
    monkeypatch.setattr(rollout, "generate_recipe", generate_recipe)
    monkeypatch.setattr(rollout, "Sampler", lambda *given: given)

    def called(*arguments):
        return CliRunner().invoke(app, ["generate", *map(str, arguments)]), asked

    return called


def test_a_storyboard_is_generated(call, tmp_path):
    result, asked = call("recipe.txt", "--model", "model", "--out", "board.png", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert asked["sentences"] == ["melt the butter", "fry an egg, slowly"]
    assert asked["sampler"] == ("pipeline", 0, None, None, None)  # the model's defaults
    assert result.stdout.splitlines()[-1] == "board.png"
    board = np.asarray(Image.open(tmp_path / "board.png").convert("RGB"))
    assert {0, 60} <= set(board[60].ravel().tolist())


def test_options_reach_the_model(call):
    options = {"--seed": 7, "--steps": 3, "--guidance": 2.5, "--image-guidance": 1, "--device": "cpu"}
    flat = [part for option in options.items() for part in option]
    result, asked = call("recipe.txt", "--model", "model", "--out", "board.jpg", *flat)
    assert result.exit_code == 0, result.output
    assert asked["sampler"] == ("pipeline", 7, 3, 2.5, 1)
    assert asked["device"] == "cpu"


def refused(result):
    """The one line of an error."""
    assert result.exit_code == 2, result.output
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_bad_input_is_refused_in_one_line_that_names_it(call, tmp_path):
    (tmp_path / "empty.txt").write_text(" \n\n\t\n")
    (tmp_path / "latin.txt").write_bytes("crème".encode("latin-1"))
    (tmp_path / "file").write_text("")
    (tmp_path / "no-model").mkdir()
    (tmp_path / "no-model" / "a").write_text("")
    (tmp_path / "folder.png").mkdir()
    before = sorted(tmp_path.rglob("*"))
    model = ("--model", "model")
    cases = [
        (("absent.txt",), "absent.txt"),
        ((tmp_path,), str(tmp_path)),
        (("empty.txt",), "empty.txt"),
        (("latin.txt",), "latin.txt"),
        (("recipe.txt", "--model", "absent"), "absent"),
        (("recipe.txt", "--model", "file"), "file"),
        (("recipe.txt", "--model", "no-model"), "no-model"),
        (("recipe.txt", *model, "--out", "board.pdf"), ".png"),
        (("recipe.txt", *model, "--out", "nowhere/board.png"), "nowhere"),
        (("recipe.txt", *model, "--out", "file/board.png"), "file"),
        (("recipe.txt", *model, "--out", "folder.png"), "folder.png"),
    ]
    for arguments, named in cases:
        line = refused(call(*arguments)[0])
        assert line.startswith("generate: ")
        assert named in line
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_is_not_writable_is_refused_before_anything_runs(call, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    result, asked = call("recipe.txt", "--model", "model")
    assert "storyboard.png" in refused(result)
    assert not asked


def test_a_full_disk_is_reported(call, monkeypatch):
    def full(self, *arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    result, _ = call("recipe.txt", "--model", "model")
    assert "No space left on device" in result.stderr.splitlines()[-1]
    assert result.exit_code == 2


def test_a_byte_order_mark_is_no_part_of_a_sentence(tmp_path):
    (tmp_path / "recipe.txt").write_bytes(b"\xef\xbb\xbfmelt the butter\r\nfry\r\n")
    assert read_recipe(tmp_path / "recipe.txt") == ["melt the butter", "fry"]


@pytest.fixture(scope="module")
def model(tmp_path_factory, tiny_backbone):
    """A real, small, untrained model as the stage `package` saves it, with two steps as its default."""
    folder, backbone = tmp_path_factory.mktemp("networks") / "recipevis", Backbone(tiny_backbone)
    shapes = fuser_shapes(tiny_backbone, tiny_backbone / "clip", 3)
    conditioner = Conditioner("attend_to_image", {"hidden": 16}, **asdict(shapes))
    made = pipeline.assemble(backbone, conditioner, backbone.unet, 64, "white", num_inference_steps=2)
    made.save_pretrained(folder)
    return folder


def test_a_real_model_generates(model, tmp_path):
    (tmp_path / "recipe.txt").write_text("melt the butter\nfry an egg\n")
    boards = []
    for options in ([], ["--steps", 2], ["--seed", 1], ["--steps", 3]):
        out = tmp_path / f"board{len(boards)}.png"
        arguments = [tmp_path / "recipe.txt", "--model", model, "--out", out, "--device", "cpu", *options]
        result = CliRunner().invoke(app, ["generate", *map(str, arguments)])
        assert result.exit_code == 0, result.output
        boards.append(out.read_bytes())
    assert boards[0] == boards[1]
    assert len(set(boards)) == 3


def test_the_models_defaults_are_saved_with_it(model):
    assert json.loads((model / "model_index.json").read_text())["num_inference_steps"] == 2


def test_a_folder_that_is_no_model_is_refused(model, tmp_path):
    (tmp_path / "recipe.txt").write_text("melt the butter")
    for folder in (tmp_path, model / "unet"):
        arguments = [tmp_path / "recipe.txt", "--model", folder, "--out", tmp_path / "board.png"]
        line = refused(CliRunner().invoke(app, ["generate", *map(str, arguments)]))
        assert line.startswith(f"generate: {folder}: ")
    assert not (tmp_path / "board.png").exists()

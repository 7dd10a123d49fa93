import os
import subprocess
import sys
import types

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

import recipevis
from recipevis.cli import main
from recipevis.errors import InputError


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Call the command in a folder with a recipe and with a model that draws plain colours at once."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.txt").write_text("\n  melt the butter \n\n\nfry an egg, slowly\n", encoding="utf-8")
    (tmp_path / "model").mkdir()
    asked = {}

    def load_pipeline(folder, device):
        if list(folder.iterdir()):
            raise InputError(f"{folder}: not a RecipeVis model")
        asked["device"] = device
        return "pipeline"

    def draw_recipe(sampler, sentences):
        asked.update(sampler=sampler, sentences=sentences)
        for number in range(len(sentences)):
            yield np.full((64, 64, 3), 60 * number, np.uint8)

    rollout = types.SimpleNamespace(load_pipeline=load_pipeline, draw_recipe=draw_recipe, Sampler=lambda *given: given)
    backbone = types.SimpleNamespace(device=lambda name: f"device {name}")
    monkeypatch.setattr(recipevis, "rollout", rollout, raising=False)
    monkeypatch.setattr(recipevis, "backbone", backbone, raising=False)

    def called(*arguments):
        return CliRunner().invoke(main.app, ["generate", *map(str, arguments)]), asked

    return called


def test_a_storyboard_is_drawn(call, tmp_path):
    result, asked = call("recipe.txt", "--model", "model", "--out", "board.png")
    assert result.exit_code == 0, result.output
    assert asked["sentences"] == ["melt the butter", "fry an egg, slowly"]
    assert asked["sampler"] == ("pipeline", 0, 50, 7.5, None)  # the paper's settings (A.3)
    assert asked["device"] == "device auto"
    assert result.stdout.splitlines()[-1] == "board.png"
    board = np.asarray(Image.open(tmp_path / "board.png").convert("RGB"))
    assert {0, 60} <= set(board[60].ravel().tolist())


def test_options_reach_the_model(call):
    options = {"--seed": 7, "--steps": 3, "--guidance": 2.5, "--image-guidance": 1, "--device": "cpu"}
    flat = [part for option in options.items() for part in option]
    result, asked = call("recipe.txt", "--model", "model", "--out", "board.jpg", *flat)
    assert result.exit_code == 0, result.output
    assert asked["sampler"] == ("pipeline", 7, 3, 2.5, 1)
    assert asked["device"] == "device cpu"


def refused(result):
    """The one line of an error."""
    assert result.exit_code == 2, result.output
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    return lines[0]


def test_bad_input_is_told_in_one_line(call, tmp_path):
    (tmp_path / "empty.txt").write_text(" \n\n\t\n")
    (tmp_path / "latin.txt").write_bytes("crème".encode("latin-1"))
    (tmp_path / "file").write_text("")
    (tmp_path / "no-model").mkdir()
    (tmp_path / "no-model" / "a").write_text("")
    (tmp_path / "folder.png").mkdir()
    before = sorted(tmp_path.rglob("*"))
    model = ("--model", "model")
    cases = [
        (("absent.txt",), "absent.txt: can't be read: No such file or directory"),
        ((tmp_path,), "can't be read: Is a directory"),
        (("empty.txt",), "empty.txt: empty; write one sentence a line"),
        (("latin.txt",), "latin.txt: not UTF-8 text"),
        (("recipe.txt", "--model", "absent"), "absent: no such folder"),
        (("recipe.txt", "--model", "file"), "file: no such folder"),
        (("recipe.txt", "--model", "no-model"), "no-model: not a RecipeVis model"),
        (("recipe.txt", *model, "--out", "board.pdf"), "board.pdf: can't be written: the name must end in"),
        (("recipe.txt", *model, "--out", "nowhere/board.png"), "can't be written: there is no folder nowhere"),
        (("recipe.txt", *model, "--out", "file/board.png"), "can't be written: there is no folder file"),
        (("recipe.txt", *model, "--out", "folder.png"), "folder.png: can't be written: it is a folder"),
    ]
    for arguments, message in cases:
        line = refused(call(*arguments)[0])
        assert line.startswith("generate: ")
        assert message in line
    assert sorted(tmp_path.rglob("*")) == before


def test_a_folder_that_may_not_be_written_is_told_before_drawing(call, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    result, asked = call("recipe.txt", "--model", "model")
    assert "storyboard.png: can't be written: permission denied" in refused(result)
    assert not asked


def test_a_disk_that_fills_up_is_told(call, monkeypatch):
    def full(self, *arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    result, _ = call("recipe.txt", "--model", "model")
    assert "storyboard.png: can't be written: No space left on device" in result.stderr.splitlines()[-1]
    assert result.exit_code == 2


def test_a_byte_order_mark_is_no_part_of_a_sentence(tmp_path):
    (tmp_path / "recipe.txt").write_bytes(b"\xef\xbb\xbfmelt the butter\r\nfry\r\n")
    assert main.read_recipe(tmp_path / "recipe.txt") == ["melt the butter", "fry"]


@pytest.fixture(scope="module")
def model(tmp_path_factory, tiny_backbone):
    """A real, small, untrained model as the stage `train` saves it."""
    from recipevis.model.networks import Backbone
    from recipevis.sampling.pipeline import assemble
    from recipevis.training.trainer import new_conditioner

    folder, backbone = tmp_path_factory.mktemp("networks"), Backbone(tiny_backbone)
    conditioner = new_conditioner(backbone, "attend_to_image", {"hidden": 16}, 3, seed=0)
    assemble(backbone, conditioner, backbone.unet, 64, "white").save_pretrained(folder / "recipevis")
    return folder / "recipevis"


def test_a_real_model_draws(model, tmp_path):
    recipe = tmp_path / "recipe.txt"
    recipe.write_text("melt the butter\nfry an egg\n")
    boards = []
    for seed in (0, 0, 1):
        out = tmp_path / f"board{len(boards)}.png"
        arguments = [recipe, "--model", model, "--out", out, "--steps", 2, "--seed", seed, "--device", "cpu"]
        result = CliRunner().invoke(main.app, ["generate", *map(str, arguments)])
        assert result.exit_code == 0, result.output
        boards.append(out.read_bytes())
    assert boards[0] == boards[1] != boards[2]


def test_a_folder_that_is_no_model_is_told(model, tmp_path):
    (tmp_path / "recipe.txt").write_text("melt the butter")
    for folder in (tmp_path, model / "unet"):
        arguments = [tmp_path / "recipe.txt", "--model", folder, "--out", tmp_path / "board.png"]
        line = refused(CliRunner().invoke(main.app, ["generate", *map(str, arguments)]))
        assert line.startswith(f"generate: {folder}: not a RecipeVis model")
    assert not (tmp_path / "board.png").exists()


def test_version_and_help_need_no_heavy_package():
    code = (
        "import sys; from typer.testing import CliRunner; from recipevis import cli; "
        "print(CliRunner().invoke(main.app, ['--version']).output, end=''); "
        "help = CliRunner().invoke(main.app, ['generate', '--help']); "
        "print('--image-guidance' in help.output, {'torch', 'diffusers', 'transformers'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"recipevis {recipevis.__version__}", "True set()"]

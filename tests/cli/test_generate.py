"""`recipevis generate`: a recipe file in, a storyboard out; bad input is refused in one line before anything runs."""

import base64
import io
import json
import os
import shutil
import tempfile
from dataclasses import asdict
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from recipevis.cli.main import app
from recipevis.cli.recipe.file import read_recipe
from recipevis.data import ffmpeg
from recipevis.errors import InputError
from recipevis.model.conditions import Conditioner
from recipevis.model.networks import Backbone
from recipevis.model.shapes import fuser_shapes
from recipevis.sampling import pipeline, sampler

PIPELINE = SimpleNamespace(config=SimpleNamespace(pixels=64))


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Call the command in a folder with a recipe and with a model that generates plain colours."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.txt").write_text("\n  melt the butter \n\n\nfry an egg, slowly\n", encoding="utf-8")
    (tmp_path / "model").mkdir()
    (tmp_path / "model/model_index.json").write_text("{}")
    asked = {}

    def load_pipeline(folder, device):
        if folder.name != "model":
            raise InputError(f"{folder}: not a RecipeVis model")
        asked["device"] = str(device)
        return PIPELINE

    def generate_recipe(sampler, sentences, first_image=None, kept=()):
        asked.update(sampler=sampler, sentences=sentences)
        for number in range(len(sentences)):
            yield np.full((64, 64, 3), 60 * number, np.uint8)

    monkeypatch.setattr(pipeline, "load_pipeline", load_pipeline)
    monkeypatch.setattr(sampler, "generate_recipe", generate_recipe)
    monkeypatch.setattr(sampler, "Sampler", lambda *given: given)

    def called(*arguments):
        return CliRunner().invoke(app, ["generate", *map(str, arguments)]), asked

    return called


def test_a_storyboard_is_generated(call, tmp_path):
    result, asked = call("recipe.txt", "--model", "model", "--out", "board.png", "--device", "cpu")
    assert result.exit_code == 0, result.output
    assert asked["sentences"] == ["melt the butter", "fry an egg, slowly"]
    assert asked["sampler"] == (PIPELINE, 0, None, None, None)  # the model's defaults
    assert result.stdout.splitlines()[-1] == "board.png"
    board = np.asarray(Image.open(tmp_path / "board.png").convert("RGB"))
    assert {0, 60} <= set(board[60].ravel().tolist())


def test_options_reach_the_model(call):
    options = {"--seed": 7, "--steps": 3, "--guidance": 2.5, "--image-guidance": 1, "--device": "cpu"}
    flat = [part for option in options.items() for part in option]
    result, asked = call("recipe.txt", "--model", "model", "--out", "board.jpg", *flat)
    assert result.exit_code == 0, result.output
    assert asked["sampler"] == (PIPELINE, 7, 3, 2.5, 1)
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


def test_a_dry_run_prints_the_steps_and_needs_no_model(call, tmp_path):
    (tmp_path / "recipe.md").write_text("# Pan\n## Method\n1. Peel &frac12; a carrot.\n2. Fry\n   it.\n")
    before = sorted(tmp_path.rglob("*"))
    result, asked = call("recipe.md", "--dry-run", "--model", "absent", "--out", "nowhere/board.png")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == ["1. Peel ½ a carrot.", "2. Fry it."]
    assert not result.stderr
    assert not asked
    assert sorted(tmp_path.rglob("*")) == before


def test_the_steps_are_shown_before_they_are_drawn(call):
    result, _ = call("recipe.txt", "--model", "model")
    shown = result.stdout.splitlines()
    assert shown[:2] == ["1. melt the butter", "2. fry an egg, slowly"]


def test_what_the_model_does_not_read_is_shown(call, tmp_path, root):
    """With the kitchen's tokenizer: 40 tokens, the first and last one special, and the words of its recipes."""
    shutil.copytree(root / "recipevis/kitchen/networks/backbone/tokenizer", tmp_path / "model/tokenizer")
    long = "stir the rice and " * 10 + "serve it"  # 42 words of one token each
    (tmp_path / "recipe.txt").write_text(f"add saffron to the rice\n{long}\nstir\n")
    result, _ = call("recipe.txt", "--dry-run", "--model", "model")
    cut, unknown = result.stderr.splitlines()
    assert "step 2" in cut
    assert "40" in cut
    assert "rice and stir the | rice and serve it" in cut  # after 38 words
    assert unknown.endswith(": saffron")
    (tmp_path / "recipe.txt").write_text("stir the rice\n")
    assert not call("recipe.txt", "--dry-run", "--model", "model")[0].stderr


def test_each_step_is_saved_as_soon_as_it_is_drawn(call, tmp_path, monkeypatch):
    seen = []

    def generate_recipe(sampler, sentences, first_image=None, kept=()):
        for number in range(len(sentences)):
            seen.append(sorted(path.name for path in tmp_path.glob("new/steps/*")))
            yield np.full((64, 64, 3), number, np.uint8)

    monkeypatch.setattr(sampler, "generate_recipe", generate_recipe)
    (tmp_path / "recipe.txt").write_text("stir\n" * 101)
    result, _ = call("recipe.txt", "--model", "model", "--steps-dir", "new/steps", "--out", "new/steps/board.png")
    assert result.exit_code == 0, result.output
    names = [f"step_{number:03d}.png" for number in range(1, 102)]
    assert seen == [names[:number] for number in range(101)]
    assert sorted(path.name for path in tmp_path.glob("new/steps/*")) == ["board.png", *names]
    picture = np.asarray(Image.open(tmp_path / "new/steps/step_003.png"))
    assert (picture == 2).all()
    assert picture.shape == (64, 64, 3)


def stopped(by):
    """A stand-in for `generate_recipe` that ends in an exception after two pictures."""

    def generate_recipe(sampler, sentences, first_image=None, kept=()):
        for number in range(2):
            yield np.full((64, 64, 3), 60 * number, np.uint8)
        raise by

    return generate_recipe


@pytest.mark.parametrize("own", [True, False])
def test_what_was_drawn_before_an_interruption_is_kept(call, tmp_path, monkeypatch, own):
    monkeypatch.setattr(sampler, "generate_recipe", stopped(KeyboardInterrupt()))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    result, _ = call("recipe.txt", "--model", "model", *(["--steps-dir", "steps"] if own else []))
    assert result.exit_code == 130
    (line,) = result.stderr.splitlines()
    folder = line.rpartition(" ")[2]
    assert (folder == "steps") == own
    kept = sorted((tmp_path / folder).iterdir())
    assert [path.name for path in kept] == ["step_01.png", "step_02.png"]
    assert np.asarray(Image.open(kept[1])).max() == 60
    assert not (tmp_path / "storyboard.png").exists()


def test_an_error_of_the_model_names_the_pictures_too(call, monkeypatch):
    monkeypatch.setattr(sampler, "generate_recipe", stopped(RuntimeError("out of memory")))
    result, _ = call("recipe.txt", "--model", "model", "--steps-dir", "steps")
    assert isinstance(result.exception, RuntimeError)
    assert result.stderr.splitlines()[-1].endswith("2 steps are in steps")


def test_a_storyboard_that_cannot_be_saved_leaves_the_pictures(call, tmp_path, monkeypatch):
    save = Image.Image.save

    def full(self, path, *arguments, **options):
        if "storyboard" in path.name:
            raise OSError(28, "No space left on device")
        save(self, path, *arguments, **options)

    monkeypatch.setattr(Image.Image, "save", full)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    line = refused(call("recipe.txt", "--model", "model")[0])
    assert line.startswith("generate: storyboard.png: ")
    folder = line.rpartition(" ")[2]
    assert sorted(path.name for path in (tmp_path / folder).iterdir()) == ["step_01.png", "step_02.png"]


def test_no_temporary_folder_is_left(call, tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    before = set(tmp_path.iterdir())
    assert call("recipe.txt", "--model", "model")[0].exit_code == 0
    assert set(tmp_path.iterdir()) - before == {tmp_path / "storyboard.png"}
    monkeypatch.setattr(sampler, "generate_recipe", lambda *given: iter(()).__next__())
    call("recipe.txt", "--model", "model")
    assert set(tmp_path.iterdir()) - before == {tmp_path / "storyboard.png"}


def test_a_folder_for_the_steps_that_cannot_be_written_is_refused_first(call, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "steps" / "step_02.png").mkdir(parents=True)
    before = sorted(tmp_path.rglob("*"))
    for options, named in [
        (["--steps-dir", "file"], "file"),
        (["--steps-dir", "file/below"], "file"),
        (["--steps-dir", "steps"], "step_02.png"),
        (["--steps-dir", ".", "--out", "step_01.png"], "step_01.png"),
    ]:
        result, asked = call("recipe.txt", "--model", "model", *options)
        assert named in refused(result)
        assert not asked
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("recipe", "options", "named"),
    [
        ("stir\n" + "stir " * 250_000, ["--out", "board.jpg"], "step 2"),
        ("stir " * 250_000, ["--out", "film.gif"], "step 1"),
        ("stir " * 60_000, ["--out", "film.gif"], "slide"),
        ("stir " * 8_000, ["--out", "film.mp4"], ".gif"),
        ("stir\n" * 95, ["--out", "sheet.webp", "--variants", 2], ".png"),  # only the labels make it too wide
    ],
)
def test_a_recipe_that_is_too_large_is_refused_before_it_is_drawn(call, tmp_path, recipe, options, named):
    (tmp_path / "recipe.txt").write_text(recipe)
    (tmp_path / "model/model_index.json").write_text('{"pixels": 64}')
    result, asked = call("recipe.txt", "--model", "model", *options)
    assert named in refused(result)
    assert not asked


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
    for options in ([], ["--steps", 2], ["--seed", 1], ["--steps", 3], ["--scheduler", "ddim"]):
        out = tmp_path / f"board{len(boards)}.png"
        arguments = [tmp_path / "recipe.txt", "--model", model, "--out", out, "--device", "cpu", *options]
        result = CliRunner().invoke(app, ["generate", *map(str, arguments)])
        assert result.exit_code == 0, result.output
        boards.append(out.read_bytes())
    assert boards[0] == boards[1]
    assert len(set(boards)) == 4


def test_an_unknown_scheduler_is_refused(call, tmp_path):
    (tmp_path / "recipe.txt").write_text("stir\n")
    result, _ = call("recipe.txt", "--scheduler", "euler")
    assert "euler" in refused(result)


def test_the_models_defaults_are_saved_with_it(model):
    assert json.loads((model / "model_index.json").read_text())["num_inference_steps"] == 2


def test_a_folder_that_is_no_model_is_refused(model, tmp_path):
    (tmp_path / "recipe.txt").write_text("melt the butter")
    for folder in (tmp_path, model / "unet"):
        arguments = [tmp_path / "recipe.txt", "--model", folder, "--out", tmp_path / "board.png"]
        line = refused(CliRunner().invoke(app, ["generate", *map(str, arguments)]))
        assert line.startswith(f"generate: {folder}: ")
    assert not (tmp_path / "board.png").exists()


def drawing(variant):
    """A stand-in for `generate_recipe` whose pictures have the colours of `variant(sampler, step)`; it remembers."""
    asked = []

    def generate_recipe(sampler, sentences, first_image=None, kept=()):
        asked.append((sampler, list(sentences), first_image, list(kept)))
        for step in range(len(kept), len(sentences)):
            yield np.full((64, 64, 3), variant(sampler, step), np.uint8)

    return generate_recipe, asked


def test_the_ending_chooses_what_is_written(call, tmp_path):
    sentences = ["melt the butter", "fry an egg, slowly"]
    for ending in ("png", "jpg", "webp", "gif", "mp4", "html", "json"):
        result, _ = call("recipe.txt", "--model", "model", "--out", f"board.{ending}")
        assert result.exit_code == 0, result.output
    for ending in ("png", "jpg", "webp"):
        with Image.open(tmp_path / f"board.{ending}") as board:
            assert board.format == {"jpg": "JPEG"}.get(ending, ending.upper())
    with Image.open(tmp_path / "board.gif") as film:
        assert (film.n_frames, film.info["duration"]) == (2, 1000)
    times, frames = ffmpeg.read(tmp_path / "board.mp4")
    assert len(frames) * (times[1] - times[0]) == pytest.approx(2)  # seconds
    assert frames[0].shape[0] % 2 == frames[0].shape[1] % 2 == 0
    assert read_recipe(tmp_path / "board.json") == sentences
    recipe = json.loads((tmp_path / "board.json").read_text())
    assert recipe["name"] == "Recipe"
    for step, colour in zip(recipe["recipeInstructions"], (0, 60), strict=True):
        kind, _, data = step["image"].partition(",")
        assert kind == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert abs(np.asarray(image, int) - colour).max() < 4
    page = (tmp_path / "board.html").read_text()
    assert page.count('<img src="data:image/jpeg') == 2
    assert all(sentence in page for sentence in sentences)
    assert "http" not in page  # self-contained


def test_a_page_escapes_sentences(call, tmp_path):
    (tmp_path / "recipe.json").write_text(
        json.dumps({"@type": "Recipe", "recipeInstructions": ["heat to > 100 & stir", "eat &lt; 3"]})
    )
    assert call("recipe.json", "--model", "model", "--out", "board.html")[0].exit_code == 0
    assert "heat to &gt; 100 &amp; stir" in (tmp_path / "board.html").read_text()


def test_a_photo_is_the_image_before_the_first_step(call, tmp_path, monkeypatch):
    stand_in, asked = drawing(lambda sampler, step: step)
    monkeypatch.setattr(sampler, "generate_recipe", stand_in)
    exif = Image.Exif()
    exif[0x0112] = 8  # to be turned anticlockwise
    Image.new("L", (300, 100), 200).save(tmp_path / "photo.jpg", exif=exif)
    result, _ = call("recipe.txt", "--model", "model", "--first-image", "photo.jpg")
    assert result.exit_code == 0, result.output
    assert asked[0][2].shape == (300, 100, 3)
    whole = (tmp_path / "photo.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.jpg").write_text("no picture")
    for name in ("absent.jpg", "cut.jpg", "text.jpg", "model"):
        assert refused(call("recipe.txt", "--model", "model", "--first-image", name)[0]).startswith(
            f"generate: {name}:"
        )
    assert len(asked) == 1


def test_variants_are_rows_and_each_has_its_own_noise(call, tmp_path, monkeypatch):
    stand_in, asked = drawing(lambda sampler, step: 10 * sampler[1] + step)
    monkeypatch.setattr(sampler, "generate_recipe", stand_in)
    options = ("--model", "model", "--seed", 4, "--steps-dir", "steps")
    for out in ("board.png", "board.html"):
        result, _ = call("recipe.txt", *options, "--variants", 3, "--out", out)
        assert result.exit_code == 0, result.output
    assert [sampler[1] for sampler, *_ in asked[:3]] == [4, 5, 6]  # the first is what a run without the option draws
    for number in range(3):
        paths = sorted((tmp_path / f"steps/variant_{number + 1}").iterdir())
        assert [np.asarray(Image.open(path)).max() for path in paths] == [40 + 10 * number, 41 + 10 * number]
    board = np.asarray(Image.open(tmp_path / "board.png"))
    tops = [np.argwhere((board == colour).all(axis=-1).sum(axis=1) >= 60).min() for colour in (40, 50, 60)]
    assert tops == sorted(tops)
    assert (tmp_path / "board.html").read_text().count("<img ") == 6
    for ending in ("gif", "mp4", "json"):
        line = refused(call("recipe.txt", *options, "--variants", 2, "--out", f"one.{ending}")[0])
        assert "--variants" in line


def test_earlier_pictures_are_kept(call, tmp_path, monkeypatch):
    assert call("recipe.txt", "--model", "model", "--steps-dir", "steps")[0].exit_code == 0
    before = (tmp_path / "steps/step_01.png").read_bytes()
    stand_in, asked = drawing(lambda sampler, step: 90 + sampler[1])
    monkeypatch.setattr(sampler, "generate_recipe", stand_in)
    (tmp_path / "recipe.txt").write_text("melt the butter\nfry two eggs\n")
    options = ("recipe.txt", "--model", "model", "--steps-dir", "steps", "--from-step", 2)
    assert call(*options)[0].exit_code == 0
    ((_, sentences, _, kept),) = asked
    assert sentences == ["melt the butter", "fry two eggs"]
    assert [(picture == 0).all() for picture in kept] == [True]
    assert (tmp_path / "steps/step_01.png").read_bytes() == before
    assert np.asarray(Image.open(tmp_path / "steps/step_02.png")).max() == 90
    assert call(*options, "--variants", 2)[0].exit_code == 0  # each variant's folder is whole
    colours = [
        [int(np.asarray(Image.open(path)).max()) for path in sorted((tmp_path / f"steps/variant_{number}").iterdir())]
        for number in (1, 2)
    ]
    assert colours == [[0, 90], [0, 91]]


def test_pictures_that_cannot_be_kept_are_refused(call, tmp_path):
    (tmp_path / "steps").mkdir()
    model = ("recipe.txt", "--model", "model")
    assert "--steps-dir" in refused(call(*model, "--from-step", 2)[0])
    assert "only 2" in refused(call(*model, "--steps-dir", "steps", "--from-step", 3)[0])
    assert "step_01.png" in refused(call(*model, "--steps-dir", "steps", "--from-step", 2)[0])
    Image.new("RGB", (32, 32)).save(tmp_path / "steps/step_01.png")
    assert "32 x 32" in refused(call(*model, "--steps-dir", "steps", "--from-step", 2)[0])
    assert not (tmp_path / "steps/step_02.png").exists()


@pytest.mark.parametrize(
    ("recipe", "warned"), [("Melt it. Fry an egg.", True), ("Melt it.", False), ("a. b\nc", False)]
)
def test_a_recipe_that_was_read_as_one_step_is_pointed_out(call, tmp_path, recipe, warned):
    (tmp_path / "recipe.txt").write_text(recipe, encoding="utf-8")
    result, _ = call("recipe.txt", "--dry-run")
    assert result.exit_code == 0
    assert bool(result.stderr) == warned

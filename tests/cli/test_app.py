"""`recipevis app` without a browser: what is read, drawn and saved, the bounds, and errors in one line."""

import asyncio
import errno
import io
import json
import os
import socket
import sys
from base64 import b64decode
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageOps
from typer.testing import CliRunner

from recipevis.cli.main import app
from recipevis.cli.web import downloads, studio
from recipevis.data import ffmpeg
from recipevis.errors import InputError, install
from recipevis.sampling.photo import upright

SENTENCES = ["put the pan on the stove", "add oil", "fry the egg"]


@dataclass(frozen=True)
class Adding:
    """A sampler whose image is the previous one (0 if there is none) plus 10, plus the seed."""

    seed: int = 0
    pipeline = SimpleNamespace(config=SimpleNamespace(pixels=32))

    def generate(self, keys, prompts, previous, first):
        return [np.full((32, 32, 3), (0 if one is None else one.max()) + 10 + self.seed, np.uint8) for one in previous]


@pytest.fixture
def room():
    words = SimpleNamespace(
        unknown=lambda sentences: [word for text in sentences for word in text.split() if word == "quinoa"],
        end=lambda sentence: 10 if len(sentence) > 100 else None,
    )
    return studio.Studio(Adding(), words)


def values(pictures):
    return [int(picture.max()) for picture in pictures]


def encoded(picture, kind="PNG", **options):
    target = io.BytesIO()
    Image.fromarray(picture).save(target, kind, **options)
    return target.getvalue()


@pytest.fixture
def pictures():
    return [np.full((32, 32, 3), value, np.uint8) for value in (40, 120, 200)]


def test_text_markdown_and_json_are_read():
    recipe = {"@context": "https://schema.org", "@type": "Recipe", "recipeInstructions": SENTENCES}
    markdown = "# Egg\n\n## Ingredients\n\n- oil\n\n## Method\n\n" + "\n".join(
        f"{number}. {sentence}" for number, sentence in enumerate(SENTENCES, start=1)
    )
    assert studio.read("\n".join(SENTENCES)) == SENTENCES
    assert studio.read(json.dumps(recipe)) == SENTENCES
    assert studio.read(json.dumps(recipe).encode(), "egg.json") == SENTENCES
    assert studio.read(markdown.encode(), "egg.md") == SENTENCES


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"", "recipe.txt"),
        (b"%PDF-1.7", "recipe.txt"),
        (b"stir\0", "recipe.txt"),
        (b"{", "egg.json"),
        (b"<html></html>", "egg.html"),
        (b"a" * (studio.MOST_BYTES + 1), "recipe.txt"),
        ("stir\n" * (studio.MOST_STEPS + 1), "recipe.txt"),
        ("a" * (studio.MOST_CHARACTERS + 1), "recipe.txt"),
    ],
)
def test_what_is_no_recipe_is_refused_without_a_path(content, name):
    with pytest.raises(InputError) as refused:
        studio.read(content, name)
    assert "\n" not in str(refused.value)
    assert "/" not in str(refused.value)


def test_only_json_may_be_longer_than_a_recipe():
    picture = "data:image/jpeg;base64," + "A" * studio.MOST_TEXT
    recipe = {"@type": "Recipe", "recipeInstructions": [{"text": text, "image": picture} for text in SENTENCES]}
    assert studio.read(json.dumps(recipe)) == SENTENCES
    for content in ("stir " * (studio.MOST_TEXT // 5 + 1), ("é" * (studio.MOST_TEXT + 1)).encode()):
        with pytest.raises(InputError, match="characters, at most 100,000"):
            studio.read(content)
    with pytest.raises(InputError, match="split it"):  # counted in characters, not in bytes
        studio.read(("é" * studio.MOST_TEXT).encode())


def test_edited_sentences_are_checked():
    assert studio.checked(["add  oil\n"]) == ["add oil"]
    for sentences in ([], ["stir", " "], ["st\x07ir"]):
        with pytest.raises(InputError):
            studio.checked(sentences)


def test_a_photo_is_turned_and_squashed():
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:, 40:] = 255  # the right half is white
    turned = Image.Exif()
    turned[0x0112] = 6  # a quarter to the right: the right half goes to the bottom
    photo = studio.photo(encoded(picture, "JPEG", exif=turned, quality=95), 32)
    assert photo.shape == (32, 32, 3)
    assert photo[:12].max() < 20
    assert photo[20:].min() > 235


@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_orientation_is_that_of_pillow(orientation):
    picture = np.random.default_rng(0).integers(0, 256, (3, 5, 3), np.uint8)
    tags = Image.Exif()
    tags[0x0112] = orientation
    with Image.open(io.BytesIO(encoded(picture, "PNG", exif=tags))) as image:
        assert np.array_equal(upright(image), np.asarray(ImageOps.exif_transpose(image)))


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's, of the damage
def test_a_photo_with_damaged_exif_data_is_read():
    tags = Image.Exif()
    tags[0x0112], tags[0x011A], tags[0x8769] = 6, (72, 1), {0x9000: b"0230"}
    whole = encoded(np.zeros((4, 4, 3), np.uint8), "JPEG", exif=tags)
    start = whole.index(b"Exif") + 6
    for place in range(start, start + len(tags.tobytes()) - 6):
        for value in (0, 2, 255):
            damaged = whole[:place] + bytes([value]) + whole[place + 1 :]
            assert studio.photo(damaged, 4).shape == (4, 4, 3)


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 40])
def test_what_is_no_picture_is_refused(content):
    with pytest.raises(InputError, match=r"pot\.png"):
        studio.photo(content, 32, "pot.png")


def test_a_photo_with_too_many_pixels_is_refused_before_it_is_decoded():
    target = io.BytesIO()
    Image.new("1", (8_000, 8_000)).save(target, "PNG")
    with pytest.raises(InputError, match="pixels"):
        studio.photo(target.getvalue(), 32)


def test_each_step_is_drawn_from_the_one_before(room):
    assert values(room.draw(SENTENCES, None, [])) == [10, 20, 30]
    assert values(room.draw(SENTENCES, np.full((32, 32, 3), 100, np.uint8), [])) == [110, 120, 130]


def test_kept_pictures_are_not_drawn_again(room, pictures):
    assert values(room.draw(SENTENCES, None, pictures[:2])) == [130]


def test_another_version_has_another_seed(room, pictures):
    assert values(room.draw(SENTENCES[:2], None, pictures[:1], version=3)) == [53]


def test_a_redraw_starts_at_the_first_edited_sentence():
    edited = ["put the pan on the stove", "add butter", "fry the egg"]
    assert studio.first_change(SENTENCES, edited, 2) == 1
    assert studio.first_change(SENTENCES, edited, 0) == 0
    assert studio.first_change(SENTENCES, SENTENCES, 2) == 2


def test_what_the_model_does_not_read_is_said(room):
    assert room.unknown(SENTENCES) == ""
    assert "quinoa" in room.unknown(["cook the quinoa"])
    assert "2" in room.unknown(["stir", "stir " * 30])


def test_one_drawing_at_a_time_in_order(room):
    log = []

    async def visitor(number):
        async with room.turn():
            log.append((number, "begins"))
            await asyncio.sleep(0)
            log.append((number, "ends"))

    async def visitors():
        await asyncio.gather(*map(visitor, range(4)))

    asyncio.run(visitors())
    assert log == [(number, what) for number in range(4) for what in ("begins", "ends")]
    assert room.waiting == 0


def test_too_many_drawings_are_refused(room):
    room.waiting = studio.MOST_WAITING + 1

    async def visitor():
        async with room.turn():
            pass

    with pytest.raises(InputError):
        asyncio.run(visitor())


def test_the_storyboard_shows_all_pictures(pictures):
    board = np.asarray(Image.open(io.BytesIO(downloads.content("storyboard.png", pictures, SENTENCES))).convert("RGB"))
    assert all((board == picture[0, 0]).all(axis=-1).sum() >= picture[..., 0].size for picture in pictures)


def test_the_film_shows_each_picture_for_a_second(pictures, tmp_path):
    (tmp_path / "recipe.mp4").write_bytes(downloads.content("recipe.mp4", pictures, SENTENCES))
    seconds, shown = ffmpeg.read(tmp_path / "recipe.mp4")
    height, width = shown.shape[1] // 3, shown.shape[2] // 2  # above the caption
    for second, level in enumerate((40, 120, 200)):
        there = shown[(seconds >= second) & (seconds < second + 1)]
        assert len(there)
        assert np.abs(there[:, height, width].astype(int) - level).max() < 6
    assert 2 < seconds[-1] < 3


def test_the_json_is_a_recipe_with_pictures(pictures):
    content = downloads.content("recipe.json", pictures, SENTENCES)
    assert studio.read(content, "recipe.json") == SENTENCES
    steps = json.loads(content)["recipeInstructions"]
    for step, picture in zip(steps, pictures, strict=True):
        shown = Image.open(io.BytesIO(b64decode(step["image"].split(",")[1])))
        assert np.abs(np.asarray(shown).astype(int) - picture).max() < 6  # a JPEG


def test_a_file_that_cant_be_made_is_refused_without_a_path(pictures, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(InputError, match="No space") as refused:
        downloads.content("storyboard.png", pictures, SENTENCES)
    assert str(refused.value).startswith("storyboard.png: ")
    assert "/" not in str(refused.value)


def test_a_taken_port_is_one_line(tmp_path):
    (tmp_path / "model_index.json").write_text("{}")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(app, ["app", "--model", str(tmp_path), "--port", port])
    assert result.exit_code == 2
    assert port in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (["--model", "absent"], "absent"),
        (["--model", "empty"], "empty"),
        (["--model", "broken", "--host", "203.0.113.1"], "203.0.113.1"),
        (["--model", "broken", "--host", "ä" * 64], "ä" * 64),
        (["--model", "broken"], "broken"),
    ],
)
def test_a_wrong_model_or_host_is_one_line(given, named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken/model_index.json").write_text("{}")
    result = CliRunner().invoke(app, ["app", "--port", "0", *given])
    assert result.exit_code == 2
    assert named in result.stderr
    assert result.stderr.count("\n") == 1


def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "nicegui", None)
    result = CliRunner().invoke(app, ["app", "--model", str(tmp_path)])
    assert result.exit_code == 2
    assert install("app") in result.stderr
    assert result.stderr.count("\n") == 1

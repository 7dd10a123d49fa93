"""Frames: the middle of each step, a row for each, the same for any number of workers and after a kill."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from recipevis.data import ffmpeg, frames
from recipevis.data.sources.base import FetchError
from recipevis.data.sources.kitchen import Kitchen
from recipevis.data.store import Store
from recipevis.data.tables.frames import COLUMNS, ERRORS
from recipevis.data.tables.recipes import Recipe, Step
from recipevis.kitchen import recipes as kitchen
from recipevis.kitchen.drawing import rendering


def steps(*segments):
    return tuple(Step(number, *map(float, segment), "stir") for number, segment in enumerate(segments))


def cooked(video_id):
    made = kitchen.recipe(0, video_id)
    return Recipe(
        video_id, "training", made.recipe_type, made.duration_s, steps(*((s.start_s, s.end_s) for s in made.steps))
    )


def table(files: dict) -> pd.DataFrame:
    return pd.DataFrame({"video_id": list(files), "file": list(files.values())})


def extract(recipes, files, store, work, workers=1, pixels=64):
    work.mkdir(exist_ok=True)
    return frames.extract(
        recipes, table(files), store.folder, store.refetch, pixels, "squash", workers, work, "data/frames"
    )


RECIPES = [cooked(f"training-{number:04d}") for number in range(4)]


@pytest.fixture
def store():
    store = Store(Kitchen(0))
    for recipe in RECIPES[:3]:
        store.get(recipe.video_id)
    return store


FILES = {f"training-{number:04d}": f"training-{number:04d}.mp4" for number in range(3)} | {"training-0003": ""}


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_step_has_its_row_and_its_picture(store, tmp_path):
    rows = extract(RECIPES, FILES, store, tmp_path / "work")
    assert tuple(rows.columns) == COLUMNS
    asked = [(recipe.video_id, step.step) for recipe in RECIPES for step in recipe.steps]
    assert list(zip(rows.video_id, rows.step, strict=True)) == asked
    assert set(rows[rows.video_id == "training-0003"].error) == {"video_failed"}
    assert (rows.time_s == (rows.start_s + rows.end_s) / 2).all()
    for row in rows[rows.status == "ok"].itertuples():
        assert row.file == f"data/frames/{row.video_id}_{row.step:02d}.png"
        times, pictures = ffmpeg.read(store.folder / FILES[row.video_id])
        shown = Image.fromarray(pictures[np.flatnonzero(times <= row.time_s)[-1]])
        expected = np.array(frames.square(shown, 64, "squash")).astype(int)
        with Image.open(tmp_path / "work/frames" / row.file.rpartition("/")[2]) as saved:
            assert saved.size == (64, 64)
            assert saved.info == {}
            assert np.abs(np.array(saved) - expected).mean() < 1.5
        scene = kitchen.recipe(0, row.video_id).steps[row.step].done
        drawn = np.array(frames.square(Image.fromarray(rendering.picture(scene)), 64, "squash"))
        assert np.abs(drawn - expected).mean() < 4


def test_any_number_of_workers_and_a_resumed_run_give_the_same_bytes(store, tmp_path):
    rows = extract(RECIPES, FILES, store, tmp_path / "one").to_csv()
    assert extract(RECIPES, FILES, store, tmp_path / "two", workers=3).to_csv() == rows
    expected = contents(tmp_path / "one/frames")
    assert contents(tmp_path / "two/frames") == expected
    # As a kill leaves it: one video not done, another's frame half written, a third's frame moved away
    (tmp_path / "two/rows/training-0000.json").unlink()
    (tmp_path / "two/frames/training-0000_00.png").write_bytes(b"half")
    (tmp_path / "two/frames/training-0001_01.png").unlink()
    assert extract(RECIPES, FILES, store, tmp_path / "two").to_csv() == rows
    assert contents(tmp_path / "two/frames") == expected


def test_what_is_done_is_not_done_again(store, tmp_path, monkeypatch):
    rows = extract(RECIPES, FILES, store, tmp_path / "work").to_csv()
    monkeypatch.setattr(frames.video, "shots", lambda *arguments: pytest.fail("decoded again"))
    assert extract(RECIPES, FILES, store, tmp_path / "work").to_csv() == rows


def test_a_video_that_left_the_store_is_fetched_again(store, tmp_path, monkeypatch):
    rows = extract(RECIPES, FILES, store, tmp_path / "one").to_csv()
    (store.folder / "training-0001.mp4").unlink()
    assert extract(RECIPES, FILES, store, tmp_path / "two").to_csv() == rows
    (store.folder / "training-0001.mp4").unlink()

    def refuse(*arguments):
        raise FetchError("removed", "gone")

    with monkeypatch.context() as patch:
        patch.setattr(store.source, "fetch", refuse)
        errors = extract(RECIPES[:2], FILES, store, tmp_path / "three").groupby("video_id").error.unique()
    assert [list(error) for error in errors] == [[""], ["video_gone"]]
    assert extract(RECIPES, FILES, store, tmp_path / "three").to_csv() == rows, "what was gone is asked for again"


def test_a_step_past_the_end_is_a_row(store, tmp_path):
    first = RECIPES[0]
    longer = Recipe(first.video_id, "training", "x", 1.0, (*first.steps[:1], Step(1, 500.0, 510.0, "serve")))
    rows = extract([longer], FILES, store, tmp_path / "work")
    assert list(rows.error) == ["", "past_end"]
    assert list(rows.status) == ["ok", "failed"]
    assert set(rows.error) <= {"", *ERRORS}


def test_flags():
    noise = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    assert frames.flags(Image.fromarray(noise)) == []
    assert frames.flags(Image.fromarray(noise // 16)) == ["dark"]
    assert frames.flags(Image.new("RGB", (16, 16), (200, 30, 90))) == ["uniform"]
    assert frames.flags(Image.new("RGB", (16, 16))) == ["dark", "uniform"]
    assert frames.flags(Image.fromarray(noise), hdr=True) == ["hdr"]


def test_squash_crop_and_pad():
    wide = Image.new("RGB", (40, 20), (200, 0, 0))
    wide.paste((0, 0, 200), (0, 0, 10, 20))  # the left quarter is blue
    squashed, cropped, padded = (np.array(frames.square(wide, 20, how)) for how in ("squash", "crop", "pad"))
    assert {a.shape for a in (squashed, cropped, padded)} == {(20, 20, 3)}
    assert squashed[10, 1].tolist() == pytest.approx([0, 0, 200], abs=2)
    assert cropped[10, 1].tolist() == pytest.approx([200, 0, 0], abs=2)  # the blue quarter is cut off
    assert padded[2, 10].tolist() == [0, 0, 0]
    assert padded[10, 10].tolist() == [200, 0, 0]

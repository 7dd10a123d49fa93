"""Triplets, against a brute-force reading of annotations and frames."""

import hashlib
import itertools
import json

import pandas as pd
import pytest

from recipevis.data import annotations, triplets
from recipevis.data.sources.youtube import YOUTUBE_ID
from recipevis.data.tables.frames import read_frames
from recipevis.data.tables.recipes import Recipe, Step
from recipevis.data.tables.triplets import COLUMNS, read_triplets
from recipevis.data.vocabulary import Vocabulary
from recipevis.errors import InputError


def recipe(video_id, count, subset="training"):
    steps = tuple(Step(n, float(n), n + 1.0, f'"{video_id}", step {n}: NA') for n in range(count))
    return Recipe(video_id, subset, "7", float(count), steps)


def frames_of(recipes, missing: dict) -> pd.DataFrame:
    rows = []
    for made in recipes:
        for step in made.steps:
            error = missing.get((made.video_id, step.step), "")
            file = "" if error else f"data/frames/{made.video_id}_{step.step:02d}.png"
            rows.append((made.video_id, step.step, "failed" if error else "ok", error, file))
    return pd.DataFrame(rows, columns=["video_id", "step", "status", "error", "file"])


def test_every_pattern_of_missing_frames_against_brute_force():
    for pattern in itertools.product(["", "past_end"], repeat=5):
        made = recipe("v", 5)
        frames = frames_of([made], {("v", n): error for n, error in enumerate(pattern)})
        table, counts = triplets.build([made], frames)
        expected = []
        for n in range(5):
            has, had = pattern[n] == "", n == 0 or pattern[n - 1] == ""
            if has and had:
                expected.append(
                    (f"v_{n:02d}", f"data/frames/v_{n:02d}.png", f"data/frames/v_{n - 1:02d}.png" if n else "")
                )
        assert list(zip(table.sample_id, table.image, table.previous_image, strict=True)) == expected
        count = counts["training"]
        assert count["triplets"] + sum(count["dropped"].values()) == count["steps"] == 5
        assert count["dropped"].get("past_end", 0) == sum(map(bool, pattern))
        assert count["videos_with_frames"] == (not all(pattern))


def test_written_and_read_back_as_it_was(tmp_path):
    recipes = [recipe("NA", 3), recipe("007", 2, "validation"), recipe("-x", 1)]
    table, counts = triplets.build(
        recipes, frames_of(recipes, {("007", 0): "video_failed", ("007", 1): "video_failed"})
    )
    table.to_csv(tmp_path / "t.csv", index=False, lineterminator="\n")
    pd.testing.assert_frame_equal(read_triplets(tmp_path / "t.csv"), table, check_dtype=False)
    read = read_triplets(tmp_path / "t.csv")
    assert tuple(read.columns) == COLUMNS
    assert list(read.previous_image) == ["", "data/frames/NA_00.png", "data/frames/NA_01.png", ""]
    assert read.step.dtype == int
    assert set(read.recipe_type) == {"7"}
    assert counts["training"]["recipe_types"] == {
        "7": {"videos": 2, "videos_with_frames": 2, "steps": 4, "triplets": 4}
    }
    assert counts["validation"]["recipe_types"] == {
        "7": {"videos": 1, "videos_with_frames": 0, "steps": 2, "triplets": 0}
    }
    assert counts["validation"]["dropped"] == {"video_failed": 2}
    assert counts["hash"] == hashlib.sha256(b"-x\nNA").hexdigest()


def test_a_subset_without_a_triplet_is_refused_with_the_commonest_reasons():
    recipes = [recipe("a", 3), recipe("b", 1200), recipe("c", 2, "validation")]
    missing = {("a", n): "past_end" for n in range(3)} | {("b", n): "video_failed" for n in range(1200)}
    _, counts = triplets.build(recipes, frames_of(recipes, missing))
    with pytest.raises(InputError) as error:
        triplets.check(counts)
    message = str(error.value)
    assert "training" in message
    assert "video_failed 1,200, past_end 3" in message
    assert "validation" not in message
    assert "\n" not in message
    _, counts = triplets.build(recipes[:1], frames_of(recipes[:1], {}))
    with pytest.raises(InputError, match="validation: no step is annotated"):
        triplets.check(counts)
    _, counts = triplets.build(recipes, frames_of(recipes, {}))
    triplets.check(counts)


def test_cut_sentences_are_counted_by_triplet_and_by_sentence(root):
    vocabulary = Vocabulary.load(root / "recipevis/kitchen/networks/backbone/tokenizer")
    recipes = [recipe("a", 4), recipe("b", 2, "validation")]
    table, counts = triplets.build(recipes, frames_of(recipes, {}))
    fits, cut, other = "stir " * 38, "stir " * 39, "add " * 80  # two of the 40 tokens are special
    table["sentence"] = [fits, cut, cut, other, cut, fits]
    before = json.dumps(counts)
    triplets.count_cut(counts, table, vocabulary)
    assert counts["training"].pop("cut") == {"tokens": 40, "triplets": 3, "sentences": 2}
    assert counts["validation"].pop("cut") == {"tokens": 40, "triplets": 1, "sentences": 1}
    assert json.dumps(counts) == before


def test_every_step_has_its_outcome():
    recipes = [recipe("a", 4), recipe("c", 2, "validation")]
    missing = {("a", 1): "past_end", ("c", 0): "past_end"}
    _, counts = triplets.build(recipes, frames_of(recipes, missing))
    ended = triplets.outcomes(counts)
    assert +ended == {("ok", "training"): 2, ("dropped", "past_end"): 2, ("dropped", "previous_missing"): 2}
    assert sum(ended.values()) == 6


def test_frames_read_back(tmp_path):
    frames = frames_of([recipe("007", 2)], {("007", 1): "past_end"})
    frames = frames.assign(start_s=0.0, end_s=1.0, time_s=0.5, flags="")
    frames.to_csv(tmp_path / "f.csv", index=False)
    read = read_frames(tmp_path / "f.csv")
    assert list(read.video_id) == ["007", "007"]
    assert list(read.error) == ["", "past_end"]


def test_youcook2_against_its_own_file(shared):
    path = shared / "youcook2/youcookii_annotations_trainval.json"
    recipes = annotations.parse(path.read_bytes(), "youcook2", YOUTUBE_ID)
    gone = {recipes[0].video_id, recipes[-1].video_id}
    missing = {
        (made.video_id, step.step): "video_failed" for made in recipes for step in made.steps if made.video_id in gone
    }
    lost = next(made for made in recipes if len(made.steps) > 5 and made.video_id not in gone)
    missing[lost.video_id, 2] = "undecodable"
    table, counts = triplets.build(recipes, frames_of(recipes, missing))
    expected = []
    for video_id, entry in json.loads(path.read_text())["database"].items():
        for number, step in enumerate(entry["annotations"]):
            if video_id in gone or (video_id == lost.video_id and number in (2, 3)):
                continue
            before = f"data/frames/{video_id}_{number - 1:02d}.png" if number else ""
            image = f"data/frames/{video_id}_{number:02d}.png"
            expected.append((entry["subset"], entry["recipe_type"], video_id, step["sentence"].strip(), image, before))
    columns = ["subset", "recipe_type", "video_id", "sentence", "image", "previous_image"]
    assert list(table[columns].itertuples(index=False, name=None)) == expected
    assert counts[lost.subset]["dropped"]["previous_missing"] == counts[lost.subset]["dropped"]["undecodable"] == 1

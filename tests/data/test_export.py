"""The image folder, loaded by the library that trainers use."""

import json

import numpy as np
import pandas as pd
import pytest
from datasets import load_dataset
from PIL import Image

from recipevis.data import export as export_module
from recipevis.data.export import COLUMNS, export
from recipevis.data.tables import triplets as tables
from recipevis.data.tables.recipes import Recipe, Step
from recipevis.errors import InputError

RECIPES = [
    Recipe(subset, subset, "1", 60.0, tuple(Step(step, step, step + 1, f"do “{step}”") for step in range(3)))
    for subset in ("training", "validation")
]


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Three steps of a training recipe and two of a validation recipe, their frames of one grey level each."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "frames").mkdir()
    rows = []
    for subset, steps in (("training", 3), ("validation", 2)):
        for step in range(steps):
            level = 10 * step + (100 if subset == "validation" else 0)
            Image.fromarray(np.full((16, 16, 3), level, np.uint8)).save(f"frames/{subset}_{step:02d}.png")
            before = f"frames/{subset}_{step - 1:02d}.png" if step else ""
            frame = f"frames/{subset}_{step:02d}.png"
            rows.append((f"{subset}_{step:02d}", subset, "1", subset, step, f"do “{step}”", frame, before))
    return pd.DataFrame(rows, columns=tables.COLUMNS)


@pytest.fixture
def steps(table):
    """The validation recipe's steps, and one more without a frame."""
    scored = table[table.subset == "validation"].assign(scored=1)
    return pd.concat([scored, scored.tail(1).assign(sample_id="validation_02", step=2, scored=0)])


def test_datasets_loads_it_with_the_columns_that_instructpix2pix_wants(table, steps, tmp_path):
    assert export(table, RECIPES, steps, "white", 16, tmp_path / "out") == {"train": 3, "validation": 2}
    loaded = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert set(loaded["train"].column_names) == set(COLUMNS)
    # The names that diffusers' InstructPix2Pix trainer takes by default.
    assert {"input_image", "edit_prompt", "edited_image"} < set(COLUMNS)
    joined = list(
        zip(*(loaded["train"][name] for name in ("sample_id", "video_id", "step", "recipe_type")), strict=True)
    )
    assert joined == [(f"training_{step:02d}", "training", step, "1") for step in range(3)]
    assert list(loaded["train"]["edit_prompt"]) == ["do “0”", "do “1”", "do “2”"]
    levels = {
        split: [(row["input_image"].getpixel((3, 3))[0], row["edited_image"].getpixel((3, 3))[0]) for row in rows]
        for split, rows in loaded.items()
    }
    assert levels == {"train": [(255, 0), (0, 10), (10, 20)], "validation": [(255, 100), (100, 110)]}


def test_the_frames_are_copies(table, steps, tmp_path):
    export(table, RECIPES, steps, "black", 16, tmp_path / "out")
    copy = tmp_path / "out/train/training_01.png"
    assert copy.read_bytes() == (tmp_path / "frames/training_01.png").read_bytes()
    assert not copy.samefile(tmp_path / "frames/training_01.png")


def test_what_is_there_is_not_written_over(table, steps, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a").touch()
    with pytest.raises(InputError, match="exists already"):
        export(table, RECIPES, steps, "white", 16, tmp_path / "out")


def test_a_missing_frame_is_named(table, steps, tmp_path):
    (tmp_path / "frames/training_01.png").unlink()
    with pytest.raises(InputError, match=r"frames/training_01.png: missing"):
        export(table, RECIPES, steps, "white", 16, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_triplets_are_no_success(table, steps, tmp_path):
    with pytest.raises(InputError, match="no triplets to export"):
        export(table[:0], RECIPES, steps, "white", 16, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_every_step_of_the_benchmark_is_listed(table, steps, tmp_path):
    """Also one without a frame: a system that generates step after step needs its sentence."""
    export(table, RECIPES, steps, "white", 16, tmp_path / "out")
    listed = pd.read_csv(tmp_path / "out/recipes.csv")
    assert listed.sample_id.tolist() == ["validation_00", "validation_01", "validation_02"]
    assert listed.scored.tolist() == [1, 1, 0]
    only_train = load_dataset(str(tmp_path / "out/train"), cache_dir=str(tmp_path / "cache"))
    assert set(only_train) == {"train"}  # what docs/data.md gives to a trainer holds no validation frame
    assert len(only_train["train"]) == 3


def test_a_folder_for_each_recipe(table, steps, tmp_path):
    counts = export(table, RECIPES, steps, "white", 16, tmp_path / "out", "recipes")
    assert counts == {"train": 1, "validation": 1}
    folder = tmp_path / "out/validation/validation"
    content = json.loads((folder / "prompts.json").read_text())
    assert content == {
        "recipe_type": "1",
        "prompts": ["do “0”", "do “1”", "do “2”"],
        "images": ["00.png", "01.png", None],  # the third step has no frame
    }
    assert sorted(path.name for path in folder.iterdir()) == ["00.png", "01.png", "prompts.json"]
    assert (folder / "01.png").read_bytes() == (tmp_path / "frames/validation_01.png").read_bytes()


def test_a_frame_whose_own_step_is_no_triplet_is_exported_with_its_recipe(table, steps, tmp_path):
    """The step before the first has no frame: the first is no triplet, but the second one's previous image."""
    export(table[table.sample_id != "training_01"], RECIPES, steps, "white", 16, tmp_path / "out", "recipes")
    content = json.loads((tmp_path / "out/train/training/prompts.json").read_text())
    assert content["images"] == ["00.png", "01.png", "02.png"]


def test_datasets_loads_the_shards(table, steps, tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "SHARD", 2)
    assert export(table, RECIPES, steps, "white", 16, tmp_path / "out", "webdataset") == {"train": 3, "validation": 2}
    shards = sorted(path.name for path in (tmp_path / "out").glob("*.tar"))
    assert shards == ["train-00000.tar", "train-00001.tar", "validation-00000.tar"]
    files = {
        split: [str(path) for path in (tmp_path / "out").glob(f"{split}-*.tar")] for split in ("train", "validation")
    }
    loaded = load_dataset("webdataset", data_files=files, cache_dir=str(tmp_path / "cache"))
    rows = sorted(loaded["train"], key=lambda row: row["__key__"])
    assert [row["__key__"] for row in rows] == ["training_00", "training_01", "training_02"]
    assert [row["edit_prompt.txt"] for row in rows] == ["do “0”", "do “1”", "do “2”"]
    assert [row["json"]["step"] for row in rows] == [0, 1, 2]
    levels = [(row["input_image.png"].getpixel((3, 3))[0], row["edited_image.png"].getpixel((3, 3))[0]) for row in rows]
    assert levels == [(255, 0), (0, 10), (10, 20)]


def test_an_id_with_points_is_one_key_in_the_shards(table, steps, tmp_path):
    table["sample_id"] = [f"{row.video_id}.v2_{row.step:02d}" for row in table.itertuples()]
    export(table, RECIPES, steps, "white", 16, tmp_path / "out", "webdataset")
    files = {"train": str(tmp_path / "out/train-00000.tar")}
    rows = list(load_dataset("webdataset", data_files=files, cache_dir=str(tmp_path / "cache"))["train"])
    assert [row["__key__"] for row in rows] == [f"training%2Ev2_{step:02d}" for step in range(3)]
    assert [row["json"]["sample_id"] for row in rows] == [f"training.v2_{step:02d}" for step in range(3)]

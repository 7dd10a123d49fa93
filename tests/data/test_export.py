"""The image folder, loaded by the library that trainers use."""

import numpy as np
import pandas as pd
import pytest
from datasets import load_dataset
from PIL import Image

from recipevis.data.export import COLUMNS, export
from recipevis.data.tables import triplets as tables
from recipevis.errors import InputError


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


def test_datasets_loads_it_with_the_columns_that_instructpix2pix_wants(table, tmp_path):
    assert export(table, "white", 16, tmp_path / "out") == {"train": 3, "validation": 2}
    loaded = load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))
    assert set(loaded["train"].column_names) == set(COLUMNS)
    assert list(loaded["train"]["edit_prompt"]) == ["do “0”", "do “1”", "do “2”"]
    levels = {
        split: [(row["original_image"].getpixel((3, 3))[0], row["edited_image"].getpixel((3, 3))[0]) for row in rows]
        for split, rows in loaded.items()
    }
    assert levels == {"train": [(255, 0), (0, 10), (10, 20)], "validation": [(255, 100), (100, 110)]}


def test_the_frames_are_copies(table, tmp_path):
    export(table, "black", 16, tmp_path / "out")
    copy = tmp_path / "out/train/training_01.png"
    assert copy.read_bytes() == (tmp_path / "frames/training_01.png").read_bytes()
    assert not copy.samefile(tmp_path / "frames/training_01.png")


def test_what_is_there_is_not_written_over(table, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a").touch()
    with pytest.raises(InputError, match="exists already"):
        export(table, "white", 16, tmp_path / "out")


def test_a_missing_frame_is_named(table, tmp_path):
    (tmp_path / "frames/training_01.png").unlink()
    with pytest.raises(InputError, match=r"frames/training_01.png: missing"):
        export(table, "white", 16, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_no_triplets_are_no_success(table, tmp_path):
    with pytest.raises(InputError, match="no triplets to export"):
        export(table[:0], "white", 16, tmp_path / "out")
    assert not (tmp_path / "out").exists()

"""The tables of docs/demo.md: means, spans over seeds, paired differences."""

import json

import numpy as np
import pandas as pd
import pytest

from recipevis import evaluation
from scripts import kitchen_tables as script


@pytest.fixture
def reported(tmp_path, root, monkeypatch):
    """What nine experiments might have reported: `attend_to_image` is 2 dB better on every image."""
    monkeypatch.chdir(root)
    monkeypatch.setattr(script.subprocess, "run", lambda *arguments, **options: pytest.fail("all of it was run"))
    out = tmp_path / "tables"
    pictures = sorted({picture for pair in evaluation.ROWS.values() for picture in pair})
    for fuser, seed, weight in script.GRIDS["seeds"]:
        folder = out / script._digest(root / "params.yaml") / f"{fuser}-seed{seed}-cycle{weight}"
        folder.mkdir(parents=True)
        rows = []
        for number, step in np.ndindex(6, 3):
            level = 10 + number + seed + 2 * (fuser == "attend_to_image")
            for picture in pictures:
                about = {"picture": picture, "sample_id": f"{number}_{step}", "video_id": str(number), "step": step}
                rows.append(about | dict.fromkeys(script.METRICS, float(level)))
        scores = pd.DataFrame(rows)
        experiment = {"fuser": fuser, "seed": seed, "cycle_weight": weight}
        result = {"experiment": experiment, "rows": evaluation.summarise(scores, 100, 0)}
        (folder / "evaluation.json").write_text(json.dumps(result))
        (folder / "training.json").write_text(json.dumps({"fuser_parameters": 12345}))
        scores.to_csv(folder / "images.csv", index=False)
    return out


def test_a_table_has_means_and_spans_over_seeds(reported, capsys):
    script.main("seeds", reported)
    printed = capsys.readouterr().out
    assert "| attend_to_image | 12,345 | 15.50 (14.50 to 16.50) |" in printed
    assert "| baseline | 12,345 | 13.50 (12.50 to 14.50) |" in printed


def test_differences_are_paired(reported, capsys):
    script.main("seeds", reported)
    printed = capsys.readouterr().out
    for seed in range(3):
        assert f"| baseline | {seed} | autoregressive | all | +2 (+2 to +2) |" in printed
        assert f"| copy_previous | {seed} | teacher_forced | after_first | +0 (+0 to +0) |" in printed


def test_the_folder_stands_for_what_the_grid_leaves_alone(root, tmp_path):
    text = (root / "params.yaml").read_text()
    for old, new, same in (
        ("fuser: attend_to_image", "fuser: concat", True),
        ("\nseed: 0", "\nseed: 4", True),
        ("condition_tokens: 3", "condition_tokens: 4", False),
    ):
        assert old in text
        (tmp_path / "params.yaml").write_text(text.replace(old, new))
        assert (script._digest(tmp_path / "params.yaml") == script._digest(root / "params.yaml")) == same

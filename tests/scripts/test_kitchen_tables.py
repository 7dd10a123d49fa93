"""The tables of docs/demo.md: means, spans over seeds, paired differences."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from recipevis.evaluation import rows, scores
from scripts import kitchen_tables as script

SETS = sorted({name for names in rows.image_sets().values() for name in names})


def level(fuser: str, seed: int, image_set: str, metric: str) -> float:
    """What every image of an experiment scores: another value for each set and metric."""
    own = 2 * (fuser == "attend_to_image") if image_set in (*rows.MODES, *rows.of_kind(rows.CONTROL)) else 0
    return 10 + seed + own + 100 * SETS.index(image_set) + 10_000 * script.SHOWN.index(metric)


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """The settings of each `dvc exp run`, each of which reports six videos of three steps."""
    monkeypatch.chdir(tmp_path)
    runs = []

    def run(command: list[str], check: bool) -> None:
        assert command[:3] == ["dvc", "exp", "run"]
        assert check
        settings = dict(setting.split("=") for setting in command[4::2])
        fuser, seed, weight = settings["fuser"], int(settings["seed"]), float(settings["cycle.weight"])
        runs.append((fuser, seed, weight))
        images = [
            {"picture": picture, "sample_id": f"{number}_{step}", "video_id": str(number), "step": step}
            | {metric: level(fuser, seed, picture, metric) for metric in script.SHOWN}
            for number, step in np.ndindex(6, 3)
            for picture in SETS
        ]
        table = pd.DataFrame(images)
        experiment = {"fuser": fuser, "seed": seed, "cycle_weight": weight}
        for folder in ("reports", "models/trained"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        result = {"experiment": experiment, "rows": scores.summarise(scores.Scores(table), 20, 0)}
        (tmp_path / "reports/evaluation.json").write_text(json.dumps(result))
        (tmp_path / "models/trained/training.json").write_text(json.dumps({"fuser_parameters": 12345}))
        table.to_csv(tmp_path / "reports/images.csv", index=False)

    monkeypatch.setattr(script.subprocess, "run", run)
    monkeypatch.setattr(script, "RESAMPLES", 50)
    return runs


def table(printed: str, title: str) -> dict[str, list[str]]:
    """The cells of a printed table by the first one's words."""
    lines = printed.split(f"\n{title}\n")[1].strip().split("\n\n")[0].splitlines()
    return {cells[0]: cells[1:] for row in lines[2:] if (cells := re.split(r" *\| *", row.strip("| ")))}


def test_a_table_has_means_and_spans_over_seeds(ran, capsys):
    script.main("seeds")
    assert sorted(ran) == sorted(script.GRIDS["seeds"])
    lines = table(capsys.readouterr().out, "teacher_forced, after_first")
    for name, fuser, picture in (
        ("attend_to_image", "attend_to_image", "teacher_forced"),
        ("attend_to_image, wrong image", "attend_to_image", "wrong_previous"),
    ):
        wanted = [[level(fuser, seed, picture, metric) for seed in (0, 1, 2)] for metric in script.SHOWN]
        spans = [f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})" for values in wanted]
        assert lines[name] == ["12,345", *spans]
    assert "baseline" in lines
    assert "baseline, wrong image" not in lines
    baseline = [[level("", seed, "untouched_backbone", metric) for seed in (0, 1, 2)] for metric in script.SHOWN]
    assert lines["untouched_backbone"] == ["", *(f"{v[1]:.2f} ({v[0]:.2f} to {v[2]:.2f})" for v in baseline)]


def test_one_seed_has_no_span_and_cycle_weights_are_apart(ran, capsys):
    script.main("cycle")
    lines = table(capsys.readouterr().out, "autoregressive, all")
    assert {(fuser, weight) for fuser, _, weight in ran} == {(f, w) for f in script.CYCLED for w in (0, 0.1)}
    values = [f"{level('baseline', 0, 'autoregressive', metric):.2f}" for metric in script.SHOWN]
    assert lines["baseline, cycle 0.1"] == ["12,345", *values]
    assert list(lines)[-1] == "vae_round_trip"


def test_differences_are_paired(ran, capsys):
    script.main("seeds")
    printed = capsys.readouterr().out
    for seed in range(3):
        assert f"| baseline | {seed} | autoregressive | all | +2 (+2 to +2) |" in printed
    gap = 2 + 100 * (SETS.index("teacher_forced") - SETS.index("copy_previous"))
    assert f"| copy_previous | 0 | teacher_forced | after_first | +{gap + 0:.3g} (" in printed


def test_what_was_reported_is_kept(ran, tmp_path):
    script.main("fusers", tmp_path / "kept")
    for fuser in script.FUSERS:
        folder = tmp_path / f"kept/fusers/{fuser}-seed0-cycle0"
        assert json.loads((folder / "evaluation.json").read_text())["experiment"]["fuser"] == fuser
        assert sorted(path.name for path in folder.iterdir()) == ["evaluation.json", "images.csv", "training.json"]

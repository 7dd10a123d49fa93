"""The tables of docs/demo.md: means, spans over seeds, paired differences."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from typer import Typer
from typer.testing import CliRunner

from recipevis.evaluation import scores
from scripts import kitchen_tables as script

PICTURES = sorted({picture for pair in scores.ROWS.values() for picture in pair})


def level(fuser: str, seed: int, picture: str, metric: str) -> float:
    """What every image of an experiment scores: another value for each picture and metric."""
    own = 2 * (fuser == "attend_to_image") if picture in (*scores.MODES, *scores.CONTROLS) else 0
    return 10 + seed + own + 100 * PICTURES.index(picture) + 10_000 * list(script.METRICS).index(metric)


@pytest.fixture
def ran(tmp_path, monkeypatch):
    """The settings of each `dvc exp run`, each of which reports six videos of three steps."""
    monkeypatch.chdir(tmp_path)
    asked = []

    def run(command: list[str], check: bool) -> None:
        assert command[:3] == ["dvc", "exp", "run"]
        assert check
        settings = dict(setting.split("=") for setting in command[4::2])
        fuser, seed, weight = settings["fuser"], int(settings["seed"]), float(settings["cycle.weight"])
        asked.append((fuser, seed, weight))
        rows = [
            {"picture": picture, "sample_id": f"{number}_{step}", "video_id": str(number), "step": step}
            | {metric: level(fuser, seed, picture, metric) for metric in script.METRICS}
            for number, step in np.ndindex(6, 3)
            for picture in PICTURES
        ]
        scores = pd.DataFrame(rows)
        experiment = {"fuser": fuser, "seed": seed, "cycle_weight": weight}
        for folder in ("reports", "models/recipevis"):
            (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        result = {"experiment": experiment, "rows": scores.summarise(scores, 100, 0)}
        (tmp_path / "reports/evaluation.json").write_text(json.dumps(result))
        (tmp_path / "models/recipevis/training.json").write_text(json.dumps({"fuser_parameters": 12345}))
        scores.to_csv(tmp_path / "reports/images.csv", index=False)

    monkeypatch.setattr(script.subprocess, "run", run)
    return asked


def table(printed: str, title: str) -> dict[str, list[str]]:
    """The cells of a printed table by the first one's words."""
    rows = printed.split(f"\n{title}\n")[1].strip().split("\n\n")[0].splitlines()
    return {cells[0]: cells[1:] for row in rows[2:] if (cells := re.split(r" *\| *", row.strip("| ")))}


def test_a_table_has_means_and_spans_over_seeds(ran, capsys):
    script.main("seeds")
    assert sorted(ran) == sorted(script.GRIDS["seeds"])
    rows = table(capsys.readouterr().out, "teacher_forced, after_first")
    for name, fuser, picture in (
        ("attend_to_image", "attend_to_image", "teacher_forced"),
        ("attend_to_image, wrong image", "attend_to_image", "wrong_previous"),
    ):
        wanted = [[level(fuser, seed, picture, metric) for seed in (0, 1, 2)] for metric in script.METRICS]
        spans = [f"{np.mean(values):.2f} ({min(values):.2f} to {max(values):.2f})" for values in wanted]
        assert rows[name] == ["12,345", *spans]
    assert "baseline" in rows
    assert "baseline, wrong image" not in rows
    floor = [[level("", seed, "untouched_backbone", metric) for seed in (0, 1, 2)] for metric in script.METRICS]
    assert rows["untouched_backbone"] == ["", *(f"{v[1]:.2f} ({v[0]:.2f} to {v[2]:.2f})" for v in floor)]


def test_one_seed_has_no_span_and_cycle_weights_are_told_apart(ran, capsys):
    script.main("cycle")
    rows = table(capsys.readouterr().out, "autoregressive, all")
    assert {(fuser, weight) for fuser, _, weight in ran} == {(f, w) for f in script.CYCLED for w in (0, 0.1)}
    values = [f"{level('baseline', 0, 'autoregressive', metric):.2f}" for metric in script.METRICS]
    assert rows["baseline, cycle 0.1"] == ["12,345", *values]
    assert list(rows)[-1] == "vae_round_trip"


def test_differences_are_paired(ran, capsys):
    script.main("seeds")
    printed = capsys.readouterr().out
    for seed in range(3):
        assert f"| baseline | {seed} | autoregressive | all | +2 (+2 to +2) |" in printed
    gap = 2 + 100 * (PICTURES.index("teacher_forced") - PICTURES.index("copy_previous"))
    assert f"| copy_previous | 0 | teacher_forced | after_first | +{gap + 0:.3g} (" in printed


def test_what_was_reported_is_kept(ran, tmp_path):
    script.main("fusers", tmp_path / "kept")
    for fuser in script.FUSERS:
        folder = tmp_path / f"kept/fusers/{fuser}-seed0-cycle0"
        assert json.loads((folder / "evaluation.json").read_text())["experiment"]["fuser"] == fuser
        assert sorted(path.name for path in folder.iterdir()) == ["evaluation.json", "images.csv", "training.json"]


def test_an_unknown_grid_is_told_which_there_are():
    app = Typer()
    app.command()(script.main)
    result = CliRunner().invoke(app, ["none"])
    assert result.exit_code == 2
    assert all(grid in result.output for grid in script.GRIDS)

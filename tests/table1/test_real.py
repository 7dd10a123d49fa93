"""The whole table from real videos, with untrained networks as small as they get: every row by the command itself."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

from recipevis.evaluation.rows import MODES
from recipevis.table1 import rows
from tests.test_pipeline import MINI, Project, commit


def recipevis(project: Project, *words: str) -> str:
    """Run the command of the copied project, which must succeed."""
    program = "from recipevis.cli import app; app()"
    tools = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    names = {f"GIT_{who}_{what}": "test@test" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=project.folder,
        env=os.environ | names | {"RECIPEVIS_HOME": str(project.home), "PATH": tools, "DVC_NO_ANALYTICS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


CHOSEN = "paper,control,latent-first,latent-dpm"  # of our rows, one for each kind of setting


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_the_whole_table_from_real_videos(tmp_path, copy_project, shared):
    values = MINI | {
        "dataset.source": "local",
        "dataset.annotations": str(shared / "youcook2/youcookii_annotations_trainval.json"),
        "dataset.videos_dir": str(shared / "youcook2/videos"),
        "cycle.weight": 0,
        "frames.pixels": 64,
        "sample.recipes": 3,
        "train.steps": 2,
    }
    project = Project(copy_project(tmp_path / "project", values), tmp_path / "home")
    commit(project)
    before = project.run("git", "status", "--porcelain").stdout, (project.folder / "params.yaml").read_bytes()
    recipevis(project, "table1", "run", "--cycle-weight", "0.5", "--rows", CHOSEN)
    assert (project.run("git", "status", "--porcelain").stdout, (project.folder / "params.yaml").read_bytes()) == before
    assert (
        recipevis(project, "table1", "run", "--cycle-weight", "0.5", "--rows", CHOSEN, "--dry-run").count("\n") == 1
    ), "nothing is missing"

    printed = recipevis(project, "table1", "show", "--rows", CHOSEN)
    assert "missing:" not in printed
    read = pd.read_csv(io.StringIO((project.folder / "table1/table.csv").read_text()))
    chosen = rows.select(CHOSEN.split(","))
    keys = [row.key for row in chosen]
    shown = read[read.row.isin(keys) & (read.metric == "psnr") & (read.steps == "all")]
    assert sorted(shown.row) == sorted(keys * len(MODES))
    assert shown["mean"].notna().all()
    assert set(shown.videos) == {3}
    # Each row's number is that of its experiment's own metrics file, which git keeps.
    refs = project.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").stdout.splitlines()
    for row in set(chosen) & set(rows.trained()):
        [ref] = [ref for ref in refs if ref.endswith(f"/{row.experiment(0)}")]
        kept = json.loads(project.run("git", "show", f"{ref}:metrics.json").stdout)
        for mode, metrics in zip(MODES, (kept, kept["teacher_forced"]), strict=True):
            mean = shown[(shown.row == row.key) & (shown["mode"] == mode)]["mean"].item()
            assert mean == pytest.approx(metrics["psnr"], rel=1e-4)

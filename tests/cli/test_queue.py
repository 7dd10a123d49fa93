"""`recipevis queue`: what DVC would set is checked before it is queued."""

import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from recipevis.cli import app
from recipevis.cli import queue as queue_module


@pytest.fixture
def queue(root, tmp_path, monkeypatch):
    """Runs the command beside the demo's parameters; returns its result and what DVC was asked for."""
    shutil.copy(root / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)
    asked = []

    def run(command):
        asked.append(command)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(queue_module.subprocess, "run", run)
    return lambda *arguments: (CliRunner().invoke(app, ["queue", *arguments]), asked)


@pytest.mark.parametrize(
    ("setting", "named"),
    [
        ("train.steps=abc", "train.steps"),
        ("train.stepz=3", "train.stepz"),
        ("fuser=concat,nope", "nope"),  # a sweep: the second is wrong
        ("sample.steps=2,4,0", "sample.steps"),
        ("fuser", "fuser"),
        ("previous_latent=false", "first_latent"),  # wrong together with what the file says
        ("frames.pixels=range(100,120)", "frames.pixels"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(queue, setting, named):
    result, asked = queue("-S", setting)
    assert result.exit_code == 2
    assert named in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not asked


def test_what_is_right_goes_to_dvc_with_the_other_options(queue):
    result, asked = queue("-S", "seed=1,2", "--set-param", "train.steps=10", "--name", "mine")
    assert result.exit_code == 0, result.stderr
    settings = ["--set-param", "seed=1,2", "--set-param", "train.steps=10"]
    assert asked == [[sys.executable, "-m", "dvc", "exp", "run", "--queue", *settings, "--name", "mine"]]


def test_the_parameters_stay_as_they_are(queue, root):
    queue("-S", "seed=1")
    assert Path("params.yaml").read_text() == (root / "params.yaml").read_text()

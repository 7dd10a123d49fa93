"""What the doctor finds: each lack is seen, and is gone with its remedy."""

import pytest
import requests
from typer.testing import CliRunner

from recipevis import cli, doctor
from recipevis.fusers import FUSERS
from recipevis.parameters import load
from tests.conftest import set_parameters


@pytest.fixture
def parameters(root, tmp_path):
    """A function: the parameters of a file, some of them changed."""

    def made(name="params.yaml", **changes):
        path = tmp_path / "params.yaml"
        path.write_text((root / name).read_text())
        set_parameters(path, {key.replace("__", "."): value for key, value in changes.items()})
        return load(path, FUSERS)

    return made


def states(parameters) -> dict[str, str]:
    return {finding.what: finding.state for finding in doctor.examine(parameters)}


def test_the_demo_lacks_nothing_but_perhaps_a_name_for_git(parameters):
    found = states(parameters())
    assert {state for what, state in found.items() if what != "git"} == {"ok"}


def test_a_folder_that_is_not_there(parameters, tmp_path):
    local = {"dataset__source": "local", "dataset__annotations": str(tmp_path / "a.json")}
    found = states(parameters(**local, dataset__videos_dir=str(tmp_path / "videos")))
    assert (found["annotations"], found["videos"]) == ("missing", "missing")
    (tmp_path / "a.json").write_text("{}")
    (tmp_path / "videos").mkdir()
    found = states(parameters(**local, dataset__videos_dir=str(tmp_path / "videos")))
    assert (found["annotations"], found["videos"]) == ("ok", "ok")


def test_the_papers_run(parameters, monkeypatch):
    def refuse(*arguments, **options):
        raise requests.ConnectionError("no route to host")

    monkeypatch.setattr(requests, "get", refuse)
    monkeypatch.setattr(doctor.shutil, "which", lambda name: None)
    monkeypatch.delenv("RECIPEVIS_COOKIES", raising=False)
    found = states(parameters("params/paper.yaml"))
    assert found["backbone"] == found["JavaScript for yt-dlp"] == "missing"
    assert found["cookies"] == "note"
    monkeypatch.setattr(doctor.shutil, "which", lambda name: "deno" if name == "deno" else None)
    monkeypatch.setenv("RECIPEVIS_COOKIES", "cookies.txt")
    found = states(parameters("params/paper.yaml"))
    assert (found["cookies"], found["JavaScript for yt-dlp"]) == ("ok", "ok")


def test_disk_of_the_papers_run_is_what_the_readme_says(parameters):
    """About 80 GB: videos 24, embeddings 9, two checkpoints of 12 to 13; and the backbone, thrice, and images."""
    taken = {stage: 2**30 * gib / 1e9 for stage, gib in doctor.disk_gib(parameters("params/paper.yaml")).items()}
    assert taken["download*"] == pytest.approx(24, abs=1)
    assert taken["embed"] == pytest.approx(9.2, abs=0.5)
    assert taken["train*"] == pytest.approx(22, abs=4)
    assert sum(taken.values()) == pytest.approx(80, rel=0.1)


def test_a_full_disk(parameters, monkeypatch):
    from collections import namedtuple

    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(doctor.shutil, "disk_usage", lambda path: usage(10, 10, 0))
    found = states(parameters())
    assert found["disk of the project"] == found["disk of RECIPEVIS_HOME"] == "missing"


def test_the_command_says_each_in_a_line(root):
    result = CliRunner().invoke(cli.app, ["doctor", "--params", str(root / "params.yaml")])
    assert len(result.stdout.splitlines()) == len(list(doctor.examine(load(root / "params.yaml", FUSERS))))
    assert result.exit_code == (2 if "missing" in result.stdout else 0)

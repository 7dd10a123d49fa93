"""Mistakes of a user: one line that names them, exit status 2, no traceback, nothing written."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ANNOTATIONS = ["-m", "stages.annotations"]
GENERATE = ["-c", "from recipevis.cli import app; app()", "generate", "recipe.txt", "--model", "model"]
LOCAL = {"dataset.source": "local", "dataset.annotations": "recipes.json", "dataset.videos_dir": "videos"}


def one_video(video_id: str = "GLd3aX16zBg", segment: tuple[float, float] = (3, 9)) -> str:
    """Annotations of one video in YouCook2's form."""
    step = {"segment": segment, "id": 0, "sentence": "chop the onions"}
    video = {"duration": 60.0, "subset": "training", "recipe_type": "113", "annotations": [step]}
    return json.dumps({"database": {video_id: video}})


def files(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Content and time of change of every file below a folder; folders themselves as well."""
    return {
        str(path.relative_to(folder)): (path.read_bytes() if path.is_file() else b"", path.stat().st_mtime_ns)
        for path in folder.rglob("*")
    }


# Name: parameters, files, the command, and what its line must name.
CASES = {
    "unknown fuser": ({"fuser": "concatt"}, {}, ANNOTATIONS, ["fuser", "concatt", "concat, "]),
    "negative steps": ({"train.steps": -5}, {}, ANNOTATIONS, ["train.steps", "-5", "0"]),
    "unknown key": ({"train.stepz": 5}, {}, ANNOTATIONS, ["train.stepz", "steps"]),
    "missing annotations": (LOCAL, {}, ANNOTATIONS, ["recipes.json"]),
    "malformed JSON": (LOCAL, {"recipes.json": '{"database": {'}, ANNOTATIONS, ["recipes.json", "JSON"]),
    "other JSON": (LOCAL, {"recipes.json": "[1, 2]"}, ANNOTATIONS, ["recipes.json", "database"]),
    "end before start": (
        LOCAL,
        {"recipes.json": one_video(segment=(9, 3))},
        ANNOTATIONS,
        ["recipes.json", "GLd3aX16zBg", "9", "3"],
    ),
    "id with ../": (LOCAL, {"recipes.json": one_video("../../evil")}, ANNOTATIONS, ["recipes.json", "../../evil"]),
    "empty recipe file": ({}, {"recipe.txt": " \n\n", "model/a": ""}, GENERATE, ["recipe.txt", "empty"]),
    "no model folder": ({}, {"recipe.txt": "chop\n", "model/a": ""}, GENERATE, ["model", "model_index.json"]),
    "no packages": ({}, {}, ["-S", *ANNOTATIONS], ["packages", "source .venv/bin/activate"]),
}


@pytest.mark.parametrize("case", CASES)
def test_one_clear_line_and_nothing_written(tmp_path, copy_project, recipevis_home, case):
    values, content, command, named = CASES[case]
    folder = copy_project(tmp_path / "project", values)
    for name, text in content.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")
    recipevis_home.mkdir()
    before = files(tmp_path)
    done = subprocess.run([sys.executable, "-B", *command], cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for part in named:
        assert part in done.stderr
    assert not done.stdout
    assert files(tmp_path) == before

"""How a stage ends when it does not end well: one line, an exit status, no traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

import stages
from recipevis.core import processes

INTERRUPTED = """
import os, signal, time
from recipevis import execution
from stages import run

def work(item):
    if item == 1:
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGINT)
    time.sleep(300)

run("annotations", lambda parameters: execution.each(work, [0, 1, 2], 2, "work", bool))
"""


def stage(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """What Python says in a project when it is called with these arguments."""
    command = [sys.executable, "-B", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)


def test_an_interrupt_ends_in_one_line_and_at_once(tmp_path, copy_project):
    folder = copy_project(tmp_path / "project", {})
    done = stage(folder, "-c", INTERRUPTED)
    assert (done.returncode, done.stderr) == (130, "annotations: interrupted; the same command goes on\n")
    assert not (folder / "logs").exists()


OUT_OF_MEMORY = """
import torch
import stages

def main(parameters):
    raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB." + chr(10) + "Of the rest ...")

stages.inputs.deps = lambda stage: []
stages.run("STAGE", main)
"""


@pytest.mark.parametrize(
    ("name", "remedy"), [("train", "raise train.accumulation"), ("embed", "lower embed.batch_size")]
)
def test_what_helps_against_too_little_memory_is_told(tmp_path, copy_project, name, remedy):
    done = stage(copy_project(tmp_path / "project", {}), "-c", OUT_OF_MEMORY.replace("STAGE", name))
    told = f"{name}: out of memory: {remedy}; CUDA out of memory. Tried to allocate 2.00 GiB.\n"
    assert (done.returncode, done.stderr) == (3, told)


def test_a_launched_process_works_in_the_folder_it_is_given(monkeypatch, tmp_path):
    """And looks at no input: the stage that launched it has."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(processes._FOLDER, str(tmp_path / "work"))
    with stages.work_folder("train") as folder:
        assert folder == tmp_path / "work"
    assert not stages.leads()


def test_no_usable_video_at_all_is_no_success(tmp_path, copy_project):
    small = {"dataset.kitchen.training_videos": 1, "dataset.kitchen.validation_videos": 1}
    folder = copy_project(tmp_path / "project", small)
    assert stage(folder, "-m", "stages.annotations").returncode == 0
    assert stage(folder, "-m", "stages.download").returncode == 0
    videos = folder / "data/videos.csv"
    rows = [line.split(",") for line in videos.read_text().splitlines()]
    failed = [[*row[:3], "failed", "network", "", "", "", "", ""] for row in rows[1:]]
    videos.write_text("".join(",".join(row) + "\n" for row in [rows[0], *failed]))
    done = stage(folder, "-m", "stages.frames")
    assert "frames, one a step" in done.stdout
    done = stage(folder, "-m", "stages.manifest")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    for told in (
        "manifest: no triplets",
        "training",
        "validation",
        "video_failed",
        "data/frames.csv",
        "data/videos.csv",
    ):
        assert told in done.stderr
    assert not (folder / "data/triplets.csv").exists()


CHANGED = """
from pathlib import Path

from stages import publish, run, work_folder

def main(parameters):
    with work_folder("manifest") as work:
        (work / "made").write_text("made")
        path = Path({path!r})
        path.write_text(path.read_text() {change})
        publish("manifest", work / "made", Path("data/triplets.csv"))

run("manifest", main)
"""


@pytest.mark.parametrize(
    ("path", "change", "told"),
    [
        (
            "recipevis/triplets.py",
            "+ '# another'",
            "manifest: changed while this stage ran: recipevis/triplets.py;",
        ),
        ("data/frames.csv", "+ 'another'", "manifest: changed while this stage ran: data/frames.csv; its"),
        ("params.yaml", ".replace('seed: 0 ', 'seed: 1 ')", ""),  # manifest lists no parameter
        ("params.yaml", "+ ' ['", "manifest: params.yaml"),
    ],
)
def test_a_stage_whose_inputs_change_while_it_runs_publishes_nothing(tmp_path, copy_project, path, change, told):
    """DVC would take its results for those of the new inputs, and remember them as such."""
    folder = copy_project(tmp_path / "project", {})
    (folder / "data").mkdir()
    for name in ("annotations.json", "frames.csv"):
        (folder / "data" / name).touch()
    done = stage(folder, "-c", CHANGED.format(path=path, change=change))
    assert (done.returncode, done.stderr[: len(told)]) == (2 if told else 0, told), done.stderr
    assert len(done.stderr.splitlines()) == (1 if told else 0)
    assert (folder / "data/triplets.csv").exists() == (not told)


def test_a_parameter_that_changes_while_a_stage_runs_is_named(tmp_path, copy_project):
    """`annotations` lists the whole file."""
    folder = copy_project(tmp_path / "project", {})
    change = "Path('params.yaml').write_text(Path('params.yaml').read_text().replace('seed: 0 ', 'seed: 1 ', 1))"
    script = f"from pathlib import Path; from stages import run; run('annotations', lambda parameters: {change})"
    done = stage(folder, "-c", script)
    assert done.returncode == 2
    assert done.stderr.startswith(
        "annotations: changed while this stage ran: params.yaml, seed (was 0); its work is kept"
    )

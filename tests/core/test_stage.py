"""How a stage ends when it doesn't end well: one line, an exit status, no traceback, nothing published."""

import subprocess
import sys
from pathlib import Path

import pytest

from recipevis.core import processes, stage

INTERRUPTED = """
import os, signal, time
from recipevis.core import parallel
from stages import run

def work(item):
    if item == 1:
        time.sleep(1)
        os.kill(os.getpid(), signal.SIGINT)
    time.sleep(300)

run("annotations", lambda config: parallel.each(work, [0, 1, 2], 2, "work", bool))
"""


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Run Python in a project."""
    return subprocess.run([sys.executable, *arguments], cwd=folder, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def project(tmp_path_factory, copy_project) -> Path:
    """A project in which no stage has run."""
    return copy_project(tmp_path_factory.mktemp("stage") / "project", {})


def test_ctrl_c_ends_a_stage_in_one_line_and_at_once(project):
    done = python(project, "-c", INTERRUPTED)
    assert (done.returncode, len(done.stderr.splitlines())) == (130, 1)
    assert not (project / "logs").exists()


def test_stages_without_networks_do_not_import_torch(project):
    """Importing torch, diffusers and transformers takes seconds."""
    heavy = "{'torch', 'diffusers', 'transformers'}"
    names = ["annotations", "download", "frames", "manifest", "report"]
    script = f"import sys, {', '.join(f'stages.{name}' for name in names)}; sys.exit(str({heavy} & sys.modules.keys()))"
    assert python(project, "-c", script).stderr == "set()\n"


class OutOfMemory:
    """What `is_out_of_memory` needs of torch."""

    class OutOfMemoryError(RuntimeError):
        pass


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("train", "train.accumulation"),
        ("embed", "embed.batch_size"),
        ("baselines", "sample.batch_size"),
        ("evaluate", "device"),
    ],
)
def test_too_little_memory_is_one_line_with_the_parameter_that_helps(monkeypatch, root, capsys, name, advice):
    monkeypatch.chdir(root)
    monkeypatch.setitem(sys.modules, "torch", OutOfMemory)
    monkeypatch.setattr(stage.inputs, "deps", lambda stage: [])

    def main(config):
        raise OutOfMemory.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nOf the rest ...")

    with pytest.raises(SystemExit) as ended:
        stage.run(lambda path: None, name, main)
    [line] = capsys.readouterr().err.splitlines()
    assert ended.value.code == 3
    assert advice in line
    assert "2.00 GiB" in line


def test_a_launched_process_works_in_the_launchers_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(processes._FOLDER, str(tmp_path / "work"))
    with stage.work_folder("train") as folder:
        assert folder == tmp_path / "work"
    assert not stage.leads()


def test_no_triplet_at_all_is_an_error(tmp_path, copy_project):
    small = {"dataset.kitchen.training_videos": 1, "dataset.kitchen.validation_videos": 1}
    folder = copy_project(tmp_path / "project", small)
    assert python(folder, "-m", "stages.annotations").returncode == 0
    assert python(folder, "-m", "stages.download").returncode == 0
    videos = folder / "data/videos.csv"
    rows = [line.split(",") for line in videos.read_text().splitlines()]
    failed = [[*row[:3], "failed", "network", "", "", "", "", ""] for row in rows[1:]]
    videos.write_text("".join(",".join(row) + "\n" for row in [rows[0], *failed]))
    assert "data/frames.csv" in python(folder, "-m", "stages.frames").stdout
    (folder / "models/backbone/tokenizer").mkdir(parents=True)
    done = python(folder, "-m", "stages.manifest")
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    for named in ("manifest: ", "training", "validation", "video_failed", "data/frames.csv", "data/videos.csv"):
        assert named in done.stderr
    assert not (folder / "data/triplets.csv").exists()


CHANGED = """
from pathlib import Path

from stages import publish, run, work_folder

def main(config):
    with work_folder("manifest") as work:
        (work / "made").write_text("made")
        path = Path({path!r})
        path.write_text(path.read_text() {change})
        publish("manifest", work / "made", Path("data/triplets.csv"))

run("manifest", main)
"""


@pytest.mark.parametrize(
    ("path", "change", "status"),
    [
        ("stages/manifest.py", "+ '# another'", 2),
        ("data/frames.csv", "+ 'another'", 2),
        ("params.yaml", ".replace('seed: 0 ', 'seed: 1 ')", 0),  # manifest lists no parameter
        ("params.yaml", "+ ' ['", 2),
    ],
)
def test_a_stage_whose_inputs_change_publishes_nothing(tmp_path, copy_project, path, change, status):
    """DVC would record its results as those of the new inputs."""
    folder = copy_project(tmp_path / "project", {})
    (folder / "data").mkdir()
    for name in ("annotations.json", "frames.csv"):
        (folder / "data" / name).touch()
    (folder / "models/backbone/tokenizer").mkdir(parents=True)
    done = python(folder, "-c", CHANGED.format(path=path, change=change))
    assert done.returncode == status, done.stderr
    assert len(done.stderr.splitlines()) == (1 if status else 0)
    assert path in done.stderr or not status
    assert (folder / "data/triplets.csv").exists() == (not status)

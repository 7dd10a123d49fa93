"""Runs of a tiny pipeline: what runs, what a kill loses, what the workspace keeps."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from recipevis.errors import ParameterError
from recipevis.table1 import experiments, rows, runner
from tests.conftest import ROOT
from tests.table1.conftest import git

pytestmark = pytest.mark.slow  # each experiment is a clone and a run of DVC

CONCAT, TEXT, IMAGE = rows.select(["concat"]), rows.select(["text_only"]), rows.select(["image_only"])
PROGRAM = "from recipevis.cli import app; app()"


def run(chosen: list, gpus: tuple[str, ...] = (), **keywords: object) -> list[str]:
    """Run what is missing; the names of those that failed."""
    return [one.name for one in runner.run(runner.plan(chosen, [0], **keywords), gpus)]


def why(chosen: list) -> dict[str, str]:
    """What would run, and why."""
    return {one.row.key: one.why for one in runner.plan(chosen, [0])}


def state() -> dict[str, object]:
    """All that a user sees of the workspace: files, index, branches and stashes."""
    untracked = git("ls-files", "--others", "--exclude-standard")
    contents = {name: Path(name).read_bytes() for name in git("ls-files").splitlines() if Path(name).exists()}
    return {"files": contents, "index": git("ls-files", "--stage"), "untracked": untracked} | {
        "refs": git("for-each-ref", "refs/heads", "refs/stash"),
        "head": git("rev-parse", "HEAD"),
    }


def trainings(home: Path, name: str = "concat-0-0") -> int:
    """How often a training was begun."""
    return len((home / name / "trainings").read_text().splitlines())


@pytest.fixture
def dirty(project) -> Path:
    """The project with a changed file, a staged one and one that git doesn't know."""
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("steps: 2", "steps: 3"))
    (project / "stages/new.txt").write_text("new")
    git("add", "stages/new.txt")
    (project / "notes.txt").write_text("unknown to git")
    return project


@pytest.fixture
def gate(tmp_path) -> str:
    """Pipes in which a training says that it is there, and where it waits, by GPU."""
    for gpu in ("", "3", "5"):
        for end in ("here", "go"):
            os.mkfifo(tmp_path / f"gate{gpu}{end}")
    return str(tmp_path / "gate")


def start(gate: str | None, *arguments: str) -> subprocess.Popen:
    """`recipevis table1 run` in a process group of its own."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | ({"GATE": gate} if gate else {})
    command = [sys.executable, "-c", PROGRAM, "table1", "run", *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment, start_new_session=True
    )


def test_each_row_becomes_an_experiment_and_the_workspace_stays(dirty, recipevis_home):
    before = state()
    chosen = rows.select(["untouched", "concat", "concat-cycle", "text_only"])
    assert run(chosen, cycle_weight=0.5) == []
    assert state() == before
    found = experiments.commits()
    assert sorted(found) == [f"table1-{key}-seed0" for key in ("concat-cycle", "concat", "text-only")]
    parameters = [experiments.parameters(found[name]) for name in sorted(found)]
    assert [values["cycle"]["weight"] for values in parameters] == [0.5, 0, 0]
    assert [values["fuser"] for values in parameters] == ["concat", "concat", "text_only"]
    assert all(values["train"]["steps"] == 3 for values in parameters), "the changed file was run"
    assert all(git("show", f"{commit}:stages/new.txt") == "new" for commit in found.values())
    assert (recipevis_home / "manifests").read_text().splitlines() == ["one"], "what rows share was made once"
    assert (recipevis_home / "concat-0-0/root").read_text() == str(dirty), "relative paths start at the workspace"
    assert not [path for path in runner.CLONES.iterdir() if path.is_dir()]
    assert experiments.read(*CONCAT, 0, "table1-concat-seed0", found["table1-concat-seed0"]).about["fuser"] == "concat"
    assert why(CONCAT) == {}


def test_a_failed_row_stops_no_other_and_has_a_log(project, capfd):
    assert run([*IMAGE, *TEXT]) == ["table1-image-only-seed0"]
    assert list(experiments.commits()) == ["table1-text-only-seed0"]
    assert "image_only never trains" in (runner.LOGS / "table1-image-only-seed0.log").read_text()
    assert "logs/table1/table1-image-only-seed0.log" in capfd.readouterr().err


@pytest.mark.parametrize("everything", [True, False], ids=["everything", "the command alone"])
def test_a_kill_loses_nothing(everything, dirty, recipevis_home, gate):
    """Killed in its second step: the next run goes on from there, or waits for the training that still runs."""
    before = state()
    first = start(gate, "--rows", "concat")
    Path(f"{gate}here").read_bytes()
    assert sorted(path.name for path in (recipevis_home / "concat-0-0").iterdir()) == ["0", "trainings"]
    (os.killpg if everything else os.kill)(first.pid, signal.SIGKILL)
    first.wait()
    assert state() == before
    assert experiments.commits() == {}
    made = (recipevis_home / "concat-0-0/0").read_text()
    second = start(None, "--rows", "concat")
    if not everything:
        lines = iter(second.stdout.readline, "")
        assert any("another process runs table1-concat-seed0" in line for line in lines)
        Path(f"{gate}go").write_bytes(b"")
    printed, _ = second.communicate()
    assert second.returncode == 0, printed
    assert list(experiments.commits()) == ["table1-concat-seed0"]
    assert (recipevis_home / "concat-0-0/0").read_text() == made, "the first step was not made again"
    assert trainings(recipevis_home) == (2 if everything else 1)
    assert state() == before
    assert not [path for path in runner.CLONES.iterdir() if path.is_dir()]


def test_two_gpus_train_at_the_same_time(project, gate):
    both = start(gate, "--rows", "concat,text_only", "--gpus", "3,5")
    for gpu in ("3", "5"):  # both are there before either may go on
        Path(f"{gate}{gpu}here").read_bytes()
    for gpu in ("3", "5"):
        Path(f"{gate}{gpu}go").write_bytes(b"")
    printed, _ = both.communicate()
    assert both.returncode == 0, printed
    assert sorted(experiments.commits()) == ["table1-concat-seed0", "table1-text-only-seed0"]


def test_what_changes_a_number_makes_an_experiment_stale(project, recipevis_home):
    chosen = [*CONCAT, *TEXT]
    assert why(chosen) == {"concat": "missing", "text_only": "missing"}
    run(chosen)
    old = experiments.commits()
    assert why(chosen) == {}
    path = project / "params.yaml"
    original = path.read_text()
    path.write_text(original.replace("device: auto", "device: cpu").replace("processes: 1", "processes: 2"))
    assert why(chosen) == {}, "these say how, not what"
    path.write_text(original.replace("limit: 1", "limit: 2").replace("steps: 2", "steps: 4"))
    assert why(chosen) == dict.fromkeys(["concat", "text_only"], "stale: dataset.limit, train.steps")
    path.write_text(original)
    (project / "recipevis/fusers/concat.py").write_text("# changed")
    assert why(chosen) == {"concat": "stale: recipevis/fusers/concat.py"}
    git("commit", "-q", "--all", "-m", "change a fuser")
    assert why(chosen) == {"concat": "stale: recipevis/fusers/concat.py"}, "also from another commit on"
    run(chosen)
    assert why(chosen) == {}
    new = experiments.commits()
    assert new["table1-concat-seed0"] != old["table1-concat-seed0"]
    assert new["table1-text-only-seed0"] == old["table1-text-only-seed0"]
    assert git("for-each-ref", "refs/exps").count("table1-concat-seed0") == 1, "the old one is replaced"


def test_a_stale_experiment_stays_until_the_new_one_is_there(project):
    run(CONCAT)
    old = experiments.commits()
    (project / "stages/train.py").write_text("raise SystemExit('broken')")
    assert why(CONCAT) == {"concat": "stale: stages/train.py"}
    assert run(CONCAT) == ["table1-concat-seed0"]
    assert experiments.commits() == old


def test_other_videos_make_an_experiment_stale(project, recipevis_home):
    run(CONCAT)
    dvc = [sys.executable, "-m", "dvc", "repro", "--quiet"]
    subprocess.run(dvc, check=True)
    assert why(CONCAT) == {}
    (recipevis_home / "videos").write_text("one more")
    subprocess.run([*dvc, "--force", "--single-item", "manifest"], check=True)
    assert why(CONCAT) == {"concat": "stale: other videos"}
    assert run(CONCAT) == []
    assert why(CONCAT) == {}
    [commit] = experiments.commits().values()
    assert "one more" in experiments.read(*CONCAT, 0, "table1-concat-seed0", commit).about["data_hash"]


@pytest.mark.parametrize(
    ("in_file", "given", "expected"), [("0", None, "0.1"), ("0.7", None, "0.7"), ("0.7", 2, "2"), ("0", 2, "2")]
)
def test_the_weight_of_the_cycle_loss(in_file, given, expected, project):
    path = project / "params.yaml"
    path.write_text(path.read_text().replace("weight: 0", f"weight: {in_file}"))
    runs = runner.plan(rows.select(["concat", "concat-cycle"]), [4], given)
    assert [one.settings[:3] for one in runs] == [
        ("fuser=concat", "seed=4", f"cycle.weight={weight}") for weight in ("0", expected)
    ]


def test_what_a_row_sets_is_refused(project):
    for setting in ("seed=1", "+fuser=concat", "previous_latent=true", "train.steps"):
        with pytest.raises(ParameterError, match="--set"):
            runner.plan(CONCAT, [0], more=[setting])
    for weight in (0, -1):
        with pytest.raises(ParameterError, match="--cycle-weight"):
            runner.plan(CONCAT, [0], weight)


def test_a_setting_is_of_all_rows_and_counts_for_staleness(project):
    run(CONCAT, more=["train.steps=4"])
    assert why(CONCAT) == {"concat": "stale: train.steps"}
    assert runner.plan(CONCAT, [0], more=["train.steps=4"]) == []


def test_letters_of_other_languages(project, monkeypatch):
    """In the path and in git's settings: `dvc exp run --temp` fails with them, since DVC copies both in ASCII."""
    git("config", "user.name", "Zoë")
    git("config", "user.email", "zoë@küche")
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.delenv(f"GIT_{who}_NAME")
        monkeypatch.delenv(f"GIT_{who}_EMAIL")
    folder = project.rename(project.with_name("Küche"))
    monkeypatch.chdir(folder)
    assert run(CONCAT) == []
    [commit] = experiments.commits().values()
    assert git("show", "--no-patch", "--format=%an %ae", commit).strip() == "Zoë zoë@küche"

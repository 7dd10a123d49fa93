"""Folders for half-done work: what stays, what goes, who waits, and what a change of the code does to them."""

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from recipevis.core import work
from recipevis.core.inputs import Committed, dvc_hash
from recipevis.core.work import work_folder
from recipevis.errors import InputError

KEY = "0" * 16


def test_half_done_work_stays_after_an_error_and_goes_after_success(recipevis_home):
    with pytest.raises(FileNotFoundError), work_folder("train", KEY, {}) as folder:
        [(folder / name).write_text("done") for name in ("half", "absent/half")]
    assert (recipevis_home / "work/train" / KEY / "half").exists()
    with work_folder("train", "1" * 16, {}) as other:
        assert not list(other.iterdir()), "another key starts over"
    with work_folder("train", KEY, {}) as folder:
        assert (folder / "half").read_text() == "done"
    assert not folder.exists()


def test_kept_work_goes_when_the_next_stage_begins():
    for keep in (True, False):
        with work_folder("train", KEY, {}, keep=keep) as folder:
            assert [path.name for path in folder.iterdir()] == ([] if keep else ["weights"])
            (folder / "weights").write_text("done")
    with work_folder("train", KEY, {}, keep=True) as folder:
        assert not list(folder.iterdir())
        (folder / "weights").write_text("done")
    with work_folder("sample", "2" * 16, {}):
        pass
    with work_folder("train", KEY, {}) as folder:
        assert not list(folder.iterdir())


def test_half_removed_work_is_never_resumed(recipevis_home, monkeypatch):
    with work_folder("train", KEY, {}, keep=True) as folder:
        for name in ("weights", "optimizer"):
            (folder / name).write_text("done")

    def killed(path, **_):
        (path / "weights").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(work.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt), work_folder("sample", KEY, {}):
            pass
    with work_folder("train", KEY, {}) as folder:
        assert not list(folder.iterdir())
    assert not list(recipevis_home.glob("work/*/*.gone"))


def test_temporary_files_of_a_killed_process_are_removed(recipevis_home):
    """Otherwise they would be published among the results."""
    folder = recipevis_home / "work/sample" / KEY / "samples"
    folder.mkdir(parents=True)
    for name in (".a.4x_9q.png", "a.png"):
        (folder / name).write_text("")
    with work_folder("sample", KEY, {}):
        assert [path.name for path in folder.iterdir()] == ["a.png"]


OLD, NEW = {"model.py": "1", "loss.py": "1"}, {"model.py": "1", "loss.py": "2"}


def interrupt(code):
    """Begin or resume work with this code and leave it half done."""
    with contextlib.suppress(KeyboardInterrupt), work_folder("train", KEY, code) as folder:
        found = (folder / "half").exists()
        (folder / "half").write_text("done")
        raise KeyboardInterrupt
    return found


def test_half_done_work_of_other_code_is_refused_and_stays():
    interrupt(OLD)
    for _ in range(2):
        with pytest.raises(InputError) as refused, work_folder("train", KEY, NEW):
            pytest.fail("resumed")
    message = str(refused.value)
    assert "loss.py" in message
    assert "model.py" not in message
    assert "\n" not in message
    assert work.RESUME in message
    assert str(work.work_path("train", KEY)) in message
    with work_folder("train", KEY, OLD) as folder:
        assert (folder / "half").exists(), "the code is as it was"


def test_half_done_work_of_other_code_is_resumed_on_request(monkeypatch):
    interrupt(OLD)
    with monkeypatch.context() as patch:
        patch.setenv(work.RESUME, "1")
        assert interrupt(NEW)
    with work_folder("train", KEY, NEW) as folder:
        assert (folder / "half").exists(), "the new code is recorded, nothing has changed since"


def test_a_deleted_work_folder_starts_over():
    interrupt(OLD)
    work.shutil.rmtree(work.work_path("train", KEY))
    with work_folder("train", KEY, NEW) as folder:
        assert not (folder / "half").exists()


@pytest.mark.parametrize(("code", "resumed"), [(OLD, True), (NEW, False)])
def test_finished_work_is_resumed_by_the_same_code_only(code, resumed):
    """It is kept in case DVC is killed before it has committed the results; changed code makes new results."""
    with work_folder("train", KEY, OLD, keep=True) as folder:
        (folder / "whole").write_text("done")
    with work_folder("train", KEY, code) as folder:
        assert (folder / "whole").exists() == resumed


def test_finished_work_that_dvc_has_committed_is_not_resumed(tmp_path, monkeypatch):
    """Only `dvc repro --force` runs the stage then. Work whose results DVC lost before it committed them is resumed."""
    monkeypatch.chdir(tmp_path)
    model = Path("model")
    model.mkdir()

    def train(committed):
        with work_folder("train", KEY, {}, [model], keep=True, committed=committed) as folder:
            resumed = (folder / "weights").exists()
            (folder / "weights").write_text("done")
            (model / "weights").write_text("done")
        return resumed

    made = {"model": "of other weights"}
    assert not train(Committed())
    assert train(Committed()), "the first one, not committed"
    assert train(Committed(made, 1)), "an earlier one is committed"
    assert train(Committed(made, 2)), "and an earlier one of another stage"
    made["model"] = dvc_hash(model)
    assert not train(Committed(made, 3))
    assert train(Committed(made, 3)), "an equal one had been committed before it"
    for time in (4, 5):
        assert not train(Committed(made | {"plots/train.csv": ""}, time)), "equal results are committed each time"


HOLD = """
import sys
from recipevis.core.work import work_folder
with work_folder("train", "f" * 16, {}) as folder:
    found = sorted(path.name for path in folder.iterdir())
    (folder / "half").write_text("done")
    print(*found, flush=True)
    sys.stdin.read()
"""

WAIT = """
import sys
from pathlib import Path
from recipevis.core.work import AlreadyMade, work_folder
try:
    with work_folder("train", "f" * 16, {}, [Path(sys.argv[1])]):
        print("worked")
except AlreadyMade:
    print("already made")
"""


@pytest.fixture
def hold(root):
    """A function that starts a process which holds the work folder until its stdin is closed or it is killed."""
    started = []

    def start(script=HOLD, *arguments):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        started.append(subprocess.Popen([sys.executable, "-c", script, *arguments], **pipes, text=True, cwd=root))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()


def test_a_killed_process_leaves_its_work_and_no_lock(hold):
    first = hold()
    assert first.stdout.readline() == "\n"
    first.send_signal(signal.SIGKILL)
    first.wait()
    with work_folder("train", "f" * 16, {}) as folder:
        assert (folder / "half").read_text() == "done"


def test_a_second_process_waits_for_the_first(hold):
    first = hold()
    assert first.stdout.readline() == "\n"
    second = hold()
    assert second.stderr.readline().startswith("train: ")
    first.stdin.close()
    assert second.stdout.readline() == "\n", "the first succeeded and removed its folder"
    second.stdin.close()
    assert (first.wait(), second.wait()) == (0, 0)


def test_a_process_that_waited_takes_the_results_of_the_first(hold, tmp_path):
    first = hold()
    assert first.stdout.readline() == "\n"
    result = tmp_path / "model"
    second = hold(WAIT, str(result))
    assert second.stderr.readline().startswith("train: ")
    result.write_text("made")
    first.stdin.close()
    assert second.stdout.readline() == "already made\n"
    with work_folder("train", "f" * 16, {}, [result]):
        pass  # it didn't wait: the result may be old


def test_a_process_that_waited_for_a_crashed_one_does_the_work(hold, tmp_path):
    result = tmp_path / "model"
    result.write_text("of an earlier run")
    first = hold()
    assert first.stdout.readline() == "\n"
    second = hold(WAIT, str(result))
    assert second.stderr.readline().startswith("train: ")
    first.kill()
    assert second.stdout.readline() == "worked\n"

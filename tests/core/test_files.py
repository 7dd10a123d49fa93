import hashlib
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from recipevis.core import files


def test_home_is_the_environments(recipevis_home):
    assert files.home() == recipevis_home


def test_home_is_the_users_cache_folder_without_it(monkeypatch, tmp_path):
    monkeypatch.setenv("RECIPEVIS_HOME", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tmp_path in files.home().parents
    assert files.home().name == "recipevis"


def test_home_is_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECIPEVIS_HOME", "here")
    assert files.home() == tmp_path / "here"


def test_user_paths_are_taken_from_the_workspace(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert files.user_path("../a.json") == tmp_path / "../a.json"
    assert files.user_path("/b/a.json") == Path("/b/a.json")
    monkeypatch.setenv("DVC_ROOT", "/workspace")
    assert files.user_path("../a.json") == Path("/workspace/../a.json")


def test_what_is_written_takes_the_files_place_whole(tmp_path):
    path = tmp_path / "folder" / "a.txt"
    files.write_text(path, "ein Löffel\n")
    assert path.read_bytes() == "ein Löffel\n".encode()
    assert [item.name for item in path.parent.iterdir()] == ["a.txt"]


def test_a_failed_write_leaves_what_was_there(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError), files.replacing(path) as temporary:
        [temporary.write_text("half of the n") / 0]
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_a_hard_link_is_never_written_through(tmp_path):
    """An output may be a link into DVC's cache, and root may write to a read-only file."""
    cached, path = tmp_path / "cached", tmp_path / "a.txt"
    cached.write_text("old")
    os.link(cached, path)
    files.write_text(path, "new")
    assert (cached.read_text(), path.read_text()) == ("old", "new")


def test_a_written_file_has_the_usual_permissions(tmp_path, monkeypatch):
    (tmp_path / "usual").touch()
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("set while other threads write"))
    files.write_text(tmp_path / "a.txt", "")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("a.txt", "usual")]
    assert modes[0] == modes[1]


def test_the_temporary_name_keeps_the_suffix(tmp_path):
    """Pillow and matplotlib choose the format by it."""
    with files.replacing(tmp_path / "a.png") as temporary:
        assert temporary.suffix == ".png"
        assert temporary.parent == tmp_path


def test_json_keeps_the_order_and_refuses_nan(tmp_path):
    path = tmp_path / "a.json"
    files.write_json(path, {"b": 1, "a": "é"})
    assert path.read_text(encoding="utf-8") == '{\n  "b": 1,\n  "a": "é"\n}\n'
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text()) == {"b": 1, "a": "é"}


def test_sha256(tmp_path):
    content = bytes(range(256)) * 10_000
    (tmp_path / "a").write_bytes(content)
    assert files.sha256(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_fingerprint_changes_with_whatever_counts(tmp_path):
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    file = tmp_path / "folder" / "deep" / "a"
    file.write_text("1")
    (tmp_path / "b").write_text("1")
    paths = [tmp_path / "folder", tmp_path / "b"]
    first = files.fingerprint(paths, {"x": 1, "y": [None, "z"]})
    assert first == files.fingerprint(paths, {"y": [None, "z"], "x": 1})
    assert len(first) == 16
    assert first != files.fingerprint(paths, {"x": 2, "y": [None, "z"]})
    assert first != files.fingerprint(paths[:1], {"x": 1, "y": [None, "z"]})
    file.write_text("2")
    assert first != files.fingerprint(paths, {"x": 1, "y": [None, "z"]})
    file.write_text("1")
    assert first == files.fingerprint(paths, {"x": 1, "y": [None, "z"]})
    file.rename(file.with_name("c"))
    assert first != files.fingerprint(paths, {"x": 1, "y": [None, "z"]})


def test_half_done_work_stays_after_an_error_and_goes_after_success(recipevis_home):
    with pytest.raises(FileNotFoundError), files.work_folder("train", "0" * 16) as folder:
        [(folder / name).write_text("done") for name in ("half", "absent/half")]
    assert (recipevis_home / "work/train" / ("0" * 16) / "half").exists()
    with files.work_folder("train", "1" * 16) as other:
        assert not list(other.iterdir()), "another fingerprint starts anew"
    with files.work_folder("train", "0" * 16) as folder:
        assert (folder / "half").read_text() == "done"
    assert not folder.exists()


def test_kept_work_goes_when_the_next_stage_begins():
    for keep in (True, False):
        with files.work_folder("train", "0" * 16, keep=keep) as folder:
            assert [path.name for path in folder.iterdir()] == ([] if keep else ["weights"])
            (folder / "weights").write_text("done")
    with files.work_folder("train", "0" * 16, keep=True) as folder:
        assert not list(folder.iterdir())
        (folder / "weights").write_text("done")
    with files.work_folder("sample", "2" * 16):
        pass
    with files.work_folder("train", "0" * 16) as folder:
        assert not list(folder.iterdir())


def test_work_that_was_being_removed_is_not_taken_up_again(recipevis_home, monkeypatch):
    with files.work_folder("train", "0" * 16, keep=True) as folder:
        for name in ("weights", "optimizer"):
            (folder / name).write_text("done")

    def killed(path, **_):
        (path / "weights").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(files.shutil, "rmtree", killed)
        with pytest.raises(KeyboardInterrupt), files.work_folder("sample", "0" * 16):
            pass
    with files.work_folder("train", "0" * 16) as folder:
        assert not list(folder.iterdir())
    assert not list(recipevis_home.glob("work/*/*.gone"))


def test_a_relative_home_is_taken_from_the_workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("RECIPEVIS_HOME", "cache")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "workspace"))
    assert files.home() == tmp_path / "workspace" / "cache"


def test_what_a_killed_process_was_writing_is_taken_away(recipevis_home):
    """Else it would be published among the results."""
    folder = recipevis_home / "work/sample" / ("0" * 16) / "samples"
    folder.mkdir(parents=True)
    for name in (".a.4x_9q.png", "a.png"):
        (folder / name).write_text("")
    with files.work_folder("sample", "0" * 16):
        assert [path.name for path in folder.iterdir()] == ["a.png"]


HOLD = """
import sys
from recipevis import store
with files.work_folder("train", "f" * 16) as folder:
    found = sorted(path.name for path in folder.iterdir())
    (folder / "half").write_text("done")
    print(*found, flush=True)
    sys.stdin.read()
"""

WAIT = """
import sys
from pathlib import Path
from recipevis import store
try:
    with files.work_folder("train", "f" * 16, [Path(sys.argv[1])]):
        print("worked")
except files.AlreadyMade:
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
    with files.work_folder("train", "f" * 16) as folder:
        assert (folder / "half").read_text() == "done"


def test_a_second_process_waits_for_the_first(hold):
    first, second = hold(), None
    assert first.stdout.readline() == "\n"
    second = hold()
    assert "another process is at the same work" in second.stderr.readline()
    first.stdin.close()
    assert second.stdout.readline() == "\n", "the first ended well and took its folder away"
    second.stdin.close()
    assert (first.wait(), second.wait()) == (0, 0)


def test_whoever_waited_for_the_same_results_takes_them(hold, tmp_path):
    first = hold()
    assert first.stdout.readline() == "\n"
    result = tmp_path / "model"
    second = hold(WAIT, str(result))
    assert "another process is at the same work" in second.stderr.readline()
    result.write_text("made")
    first.stdin.close()
    assert second.stdout.readline() == "already made\n"
    with files.work_folder("train", "f" * 16, [result]):
        pass  # nobody was waited for: what lies there may be old


def test_whoever_waited_for_one_that_crashed_does_the_work(hold, tmp_path):
    result = tmp_path / "model"
    result.write_text("of an earlier run")
    first = hold()
    assert first.stdout.readline() == "\n"
    second = hold(WAIT, str(result))
    assert "another process is at the same work" in second.stderr.readline()
    first.kill()
    assert second.stdout.readline() == "worked\n"


@pytest.mark.parametrize("old", [None, "folder"])
def test_publish_puts_a_folder_in_place_of_what_is_there(tmp_path, old):
    source, target = tmp_path / "work" / "made", tmp_path / "models" / "recipevis"
    source.mkdir(parents=True)
    (source / "new").write_text("new")
    if old == "folder":
        target.mkdir(parents=True)
        (target / "old").write_text("old")
    files.publish(source, target)
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in target.parent.iterdir()] == ["recipevis"]
    assert not source.exists()


def test_publish_puts_a_file_in_place(tmp_path):
    source, target = tmp_path / "made", tmp_path / "data" / "a.csv"
    for text in ("first", "second"):
        source.write_text(text)
        files.publish(source, target)
        assert target.read_text() == text
    assert [path.name for path in target.parent.iterdir()] == ["a.csv"]


def test_publish_survives_what_a_killed_one_left(tmp_path):
    source, target = tmp_path / "made", tmp_path / "out"
    for leftover in (tmp_path / ".out.new", tmp_path / ".out.old"):
        leftover.mkdir()
        (leftover / "half").write_text("")
    source.mkdir()
    (source / "new").write_text("")
    files.publish(source, target)
    assert [path.name for path in target.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["out"]

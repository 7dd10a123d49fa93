"""What lies in the home folder is listed; what nobody works on is removed, when told to."""

import os
import time

import filelock
import numpy as np
import pytest
from typer.testing import CliRunner

from recipevis.cli import cleaning, main
from recipevis.core import files
from recipevis.data import ffmpeg
from recipevis.data.sources import local


@pytest.fixture
def home(recipevis_home):
    """Two sources' videos, and half-done work: old, new, and old but with a process at it."""
    for name in (
        "videos/kitchen-0/a.mp4",
        "videos/local-1/b.mkv",
        "work/train/old/x",
        "work/train/new/x",
        "work/embed/busy/x",
    ):
        path = recipevis_home / name
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x" * 1000)
    month_ago = time.time() - 30 * 86400
    for name in ("work/train/old/x", "work/train/old", "work/embed/busy/x", "work/embed/busy"):
        os.utime(recipevis_home / name, (month_ago, month_ago))
    return recipevis_home


def clean(*arguments, answer=""):
    result = CliRunner().invoke(main.app, ["clean", *arguments], input=answer)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.output


def left(home) -> set[str]:
    return {path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file() and path.suffix != ".lock"}


def test_everything_is_listed_with_its_size(home):
    with filelock.FileLock(home / "work/embed/busy.lock"):
        found = {item.name: item for item in cleaning.items()}
    assert {name: item.kind for name, item in found.items()} == {
        "videos/kitchen-0": "videos",
        "videos/local-1": "videos",
        "work/embed/busy": "work",
        "work/train/new": "work",
        "work/train/old": "work",
    }
    assert {item.bytes for item in found.values()} == {1000}
    assert [name for name, item in found.items() if item.busy] == ["work/embed/busy"]


def test_nothing_goes_without_a_yes(home):
    before = left(home)
    assert "Remove 2" in clean(answer="n\n")
    assert left(home) == before


def test_what_is_abandoned_goes_and_what_is_worked_on_stays(home):
    with filelock.FileLock(home / "work/embed/busy.lock"):
        told = clean(answer="y\n")
        assert "work/embed/busy  a process is at work" in told
        assert left(home) == {"videos/kitchen-0/a.mp4", "videos/local-1/b.mkv", "work/train/new/x", "work/embed/busy/x"}
    assert "work/embed/busy: removed" in clean("--yes")
    assert clean("--yes", "--days", "0", "--videos").count("removed") == 2 + 1 + 3  # three lines say so twice
    assert left(home) == set()
    assert files.home().is_dir()


def test_videos_of_a_running_download_are_left_and_it_goes_on_without_its_folder(home):
    source = local.Kitchen(3)
    name = f"videos/{source.folder.name}"
    source.get("training-0000")
    seen = cleaning.items()
    with source._locked("training-0001"):
        assert not cleaning.remove(next(item for item in seen if item.name == name))
        assert [item.name for item in cleaning.items() if item.busy] == [name]
        told = clean("--yes", "--videos")
        assert "(the toy kitchen, seed 3)  a process is at work" in told
        assert "videos/kitchen-0: removed" in told
        assert source.stored("training-0000")
    assert f"{name}: removed" in clean("--yes", "--videos")
    assert not source.folder.exists()
    assert source.get("training-0000").exists()  # between two videos nobody holds a lock


def test_work_that_a_process_takes_up_meanwhile_is_left(home):
    (old,) = (item for item in cleaning.items() if item.name == "work/train/old")
    with filelock.FileLock(home / "work/train/old.lock"):
        assert not cleaning.remove(old)
    assert (home / "work/train/old/x").exists()
    assert cleaning.remove(old)


def test_an_empty_home(recipevis_home):
    told = clean()
    assert "0.0 MB" in told
    assert "nothing to remove: no half-done work untouched for 7 days (--days: others, --videos:" in told
    assert "--videos" not in clean("--videos")


def test_no_answer_is_told_and_removes_nothing(home):
    before = left(home)
    result = CliRunner().invoke(main.app, ["clean"], input="")
    assert result.exit_code == 2
    assert "clean: no answer, so nothing was removed; --yes removes without asking" in result.output
    assert "Aborted" not in result.output
    assert left(home) == before


def test_a_cache_says_where_its_videos_come_from(tmp_path):
    videos = tmp_path / "mine"
    videos.mkdir()
    ffmpeg.write(videos / "a.mp4", np.full((4, 32, 32, 3), 90, np.uint8), rate=2)
    local.Local(videos).get("a")
    local.Kitchen(3).get("training-0000")
    told = {item.name.partition("-")[0]: item.about for item in cleaning.items()}
    assert told == {"videos/local": f"links into {videos}", "videos/kitchen": "the toy kitchen, seed 3"}
    assert f"(links into {videos})" in clean()

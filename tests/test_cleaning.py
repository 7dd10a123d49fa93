"""What lies in the home folder is listed; what nobody works on is removed, when told to."""

import os
import time

import filelock
import pytest
from typer.testing import CliRunner

from recipevis import cleaning, cli, store


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
    result = CliRunner().invoke(cli.app, ["clean", *arguments], input=answer)
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
    assert store.home().is_dir()


def test_work_that_a_process_takes_up_meanwhile_is_left(home):
    (old,) = (item for item in cleaning.items() if item.name == "work/train/old")
    with filelock.FileLock(home / "work/train/old.lock"):
        assert not cleaning.remove(old)
    assert (home / "work/train/old/x").exists()
    assert cleaning.remove(old)


def test_an_empty_home(recipevis_home):
    assert "0.0 MB" in clean()

import hashlib
import json
import os
import stat
from pathlib import Path

import pytest

from recipevis.core import files
from recipevis.errors import InputError


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


def test_a_home_folder_of_no_user_is_an_error(monkeypatch):
    with pytest.raises(InputError, match=r"^~no such user/a: "):
        files.user_path("~no such user/a")
    monkeypatch.setenv("RECIPEVIS_HOME", "~no-such-user")
    with pytest.raises(InputError, match="~no-such-user"):
        files.home()


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


def test_a_relative_home_is_taken_from_the_workspace(tmp_path, monkeypatch):
    monkeypatch.setenv("RECIPEVIS_HOME", "cache")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "workspace"))
    assert files.home() == tmp_path / "workspace" / "cache"


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

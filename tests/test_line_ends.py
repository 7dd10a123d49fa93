"""Line ends: every clone has the same bytes, whatever git's settings, since DVC hashes the bytes of code."""

import subprocess

import pytest


def git(folder, *arguments):
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=True).stdout.decode()


@pytest.fixture(params=[["core.autocrlf=true"], ["core.autocrlf=false", "core.eol=crlf"]], ids=" ".join)
def clone(request, root, tmp_path):
    """A clone of the last commit by a git with other settings."""
    if not (root / ".git").exists():
        pytest.skip("this copy of the project has no .git")
    settings = [word for setting in request.param for word in ("--config", setting)]
    git(tmp_path, "clone", "--quiet", *settings, str(root), "clone")
    return tmp_path / "clone"


def changed(clone):
    """The tracked files whose bytes are not those of the commit."""
    committed = dict(reversed(line.split("\t")) for line in git(clone, "ls-tree", "-r", "HEAD").splitlines())
    names = list(committed)
    hashes = git(clone, "hash-object", "--no-filters", *names).split()
    return [name for name, value in zip(names, hashes, strict=True) if committed[name].split()[2] != value]


def test_a_clone_has_the_committed_bytes(clone):
    assert changed(clone) == []
    assert git(clone, "status", "--porcelain") == ""


def test_a_new_file_is_committed_with_line_feeds_and_a_binary_one_as_it_is(clone):
    names = {"recipevis/new.py": "i/lf", "new.kind": "i/lf", "new.png": "i/crlf", "new.safetensors": "i/crlf"}
    for name in names:
        (clone / name).write_bytes(b"one\r\ntwo\r\n")
    git(clone, "add", *names)
    assert {line.split()[-1]: line.split()[0] for line in git(clone, "ls-files", "--eol", *names).splitlines()} == names


def test_an_older_clone_is_mended_by_the_command_of_the_troubleshooting_page(clone, root):
    path = clone / "recipevis/config.py"
    committed = path.read_bytes()
    path.write_bytes(committed.replace(b"\n", b"\r\n"))
    git(clone, "add", "--update")
    assert git(clone, "status", "--porcelain") == "", "git sees no difference, DVC does"
    assert changed(clone) == ["recipevis/config.py"]
    command = "git rm -rq --cached . && git reset --hard"
    assert command in (root / "docs/troubleshooting.md").read_text(encoding="utf-8")
    subprocess.run(command, shell=True, cwd=clone, check=True, capture_output=True)
    assert changed(clone) == []

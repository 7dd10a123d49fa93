"""What a stage's inputs are, when they count as changed, and what the key of its half-done work depends on."""

import os

import pytest

from recipevis.core import inputs
from recipevis.errors import InputError

DVC = """
stages:
  train:
    cmd: python -m stages.train
    deps:
    - data/frames
    - data/triplets.csv
    - recipevis/model
    - recipevis/fusers/${fuser}.py
    - recipevis/kitchen/networks
    - stages/${train.file}.py
    params:
    - fuser
    - train.steps
    - train.absent
    outs:
    - models/trained
    plots:
    - plots/train.csv:
        x: step
  annotations:
    deps: []
    params:
    - params.yaml:
    outs: []
"""
FILES = {
    "data/frames/a.png": "a",
    "data/frames/b.png": "b",
    "data/triplets.csv": "t",
    "recipevis/model/loss.py": "loss",
    "recipevis/model/__pycache__/loss.pyc": "compiled",
    "recipevis/fusers/concat.py": "concat",
    "recipevis/fusers/baseline.py": "baseline",
    "recipevis/kitchen/networks/unet.safetensors": "weights",
    "stages/train.py": "main",
    "dvc.yaml": DVC,
    "params.yaml": "fuser: concat\nseed: 0\ntrain:\n  steps: 5\n  file: train\n",
}


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    """A project with one stage."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    inputs.at_start.cache_clear()
    yield tmp_path
    inputs.at_start.cache_clear()


def test_code_and_data_are_told_apart():
    found = inputs.current("train")
    assert found.parameters == {"fuser": "concat", "train.steps": 5, "train.absent": None}
    assert found.code.keys() == {"recipevis/model/loss.py", "recipevis/fusers/concat.py", "stages/train.py"}
    networks = "recipevis/kitchen/networks/unet.safetensors"
    assert found.data.keys() == {"data/frames/a.png", "data/frames/b.png", "data/triplets.csv", networks}
    assert inputs.current("annotations").parameters.keys() == {"fuser", "seed", "train"}


def test_outs_include_plots():
    assert [path.as_posix() for path in inputs.outs("train")] == ["models/trained", "plots/train.csv"]


EDITS = {  # file: (text, whether the key changes, whether the inputs count as changed)
    "data/frames/a.png": ("A", True, True),
    "data/frames/c.png": ("c", True, True),
    "recipevis/kitchen/networks/unet.safetensors": ("other", True, True),
    "params.yaml": (FILES["params.yaml"].replace("5", "6"), True, True),
    "recipevis/model/loss.py": ("# comment", False, True),
    "recipevis/model/new.py": ("new", False, True),
    "recipevis/model/__pycache__/loss.pyc": ("again", False, False),
    "recipevis/fusers/baseline.py": ("# comment", False, False),
}


@pytest.mark.parametrize("name", EDITS)
def test_an_edit(project, name):
    text, other_key, changed = EDITS[name]
    before = inputs.at_start("train")
    key = before.key()
    (project / name).write_text(text)
    assert (inputs.current("train").key() != key) == other_key
    assert (inputs.current("train") != before) == changed
    if not changed:
        inputs.require_unchanged("train")
        return
    with pytest.raises(InputError) as refused:
        inputs.require_unchanged("train")
    assert ("params.yaml, train.steps (was 5)" if name == "params.yaml" else name) in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_key_that_the_stage_does_not_list_is_no_input(project):
    before = inputs.current("train")
    (project / "params.yaml").write_text(FILES["params.yaml"].replace("seed: 0", "seed: 1"))
    assert inputs.current("train") == before
    assert inputs.current("annotations") != before


def test_unchanged_data_is_not_read_again(project, monkeypatch):
    inputs.at_start("train").key()
    data = [name for name in FILES if name.startswith("data/") or "networks" in name]
    real, read = inputs.files.sha256, []
    monkeypatch.setattr(inputs.files, "sha256", lambda path: read.append(path.as_posix()) or real(path))
    inputs.require_unchanged("train")
    assert not set(read) & set(data)
    stat = os.stat("data/triplets.csv")
    (project / "data/triplets.csv").write_text("T")  # the same size
    os.utime("data/triplets.csv", ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    with pytest.raises(InputError, match=r"triplets\.csv"):
        inputs.require_unchanged("train")


def test_what_dvc_committed_is_read_from_its_lock_file(project):
    assert inputs.committed("train") == inputs.Committed()
    for text in ("", "schema: '2.0'\nstages: {}\n"):
        (project / "dvc.lock").write_text(text)
        assert inputs.committed("train").hashes == {}
    out = "{path: models/trained, hash: md5, md5: abc.dir, size: 5, nfiles: 2}"
    (project / "dvc.lock").write_text(f"stages:\n  train:\n    cmd: x\n    outs:\n    - {out}\n  embed: {{cmd: x}}\n")
    assert inputs.committed("train").hashes == {"models/trained": "abc.dir"}
    assert inputs.committed("train").written_ns == os.stat("dvc.lock").st_mtime_ns
    assert inputs.committed("embed").hashes == {}

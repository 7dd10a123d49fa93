"""Shared by all tests: a home folder of their own, no network, copies of the project, tiny networks."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from recipevis import arithmetic

# torch, matplotlib and the hub's library read these when they are imported: nothing above imports them.
arithmetic.fix()
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"
os.environ["DVC_NO_ANALYTICS"] = "1"  # in repositories that tests make, without the project's settings

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def recipevis_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's own `RECIPEVIS_HOME`, in an environment as outside DVC."""
    home = tmp_path / "recipevis-home"
    monkeypatch.setenv("RECIPEVIS_HOME", str(home))
    for name in ("DVC_ROOT", "RECIPEVIS_WORKSPACE"):
        monkeypatch.delenv(name, raising=False)
    return home


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real annotations and videos beside the project; they are never copied into it."""
    folder = ROOT.parent / "shared"
    if not (folder / "youcook2" / "youcookii_annotations_trainval.json").is_file():
        pytest.skip("../shared with the real annotations and videos is absent")
    return folder


@pytest.fixture(scope="session")
def copy_project() -> Callable[..., Path]:
    """A function that copies what the pipeline needs to a folder and sets parameters by their dotted keys."""

    def copy(target: Path, values: dict[str, object]) -> Path:
        for name in ("recipevis", "stages", "params"):
            shutil.copytree(ROOT / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
        (target / ".dvc").mkdir()
        for name in ("dvc.yaml", "params.yaml", ".dvcignore", ".gitignore", ".dvc/config", ".dvc/.gitignore"):
            shutil.copy(ROOT / name, target / name)
        set_parameters(target / "params.yaml", values)
        return target

    return copy


def set_parameters(path: Path, values: dict[str, object]) -> None:
    """Set dotted keys of a parameter file."""
    reader = YAML()
    tree = reader.load(path.read_text(encoding="utf-8"))
    for key, value in values.items():
        *groups, name = key.split(".")
        section = tree
        for group in groups:
            section = section[group]
        section[name] = value
    with path.open("w", encoding="utf-8") as file:
        reader.dump(tree, file)


TINY = ROOT / "tests" / "configs"  # shapes of untrained networks as small as they get


@pytest.fixture
def parameters_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., object]:
    """A function that loads one of the project's parameter files, with some values changed, in an empty folder."""
    from recipevis.config import load

    monkeypatch.chdir(tmp_path)

    def parameters(name: str = "params/paper.yaml", changes: dict[str, object] | None = None):
        path = tmp_path / "params.yaml"
        path.write_text((ROOT / name).read_text())
        set_parameters(path, changes or {})
        return load(path)

    return parameters


def tiny(changes: dict[str, object] | None = None) -> dict[str, object]:
    """Parameter values for a run on tiny untrained networks."""
    values = {
        "device": "cpu",
        "backbone.source": "random",
        "backbone.random": str(TINY),
        "frames.pixels": 32,
        "fuser_hidden": 4,
        "train.batch_size": 4,
    }
    return values | (changes or {})


@pytest.fixture(scope="session")
def tiny_backbone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with untrained networks as small as they get; noise prediction, 32x32 images have 4x4 latents."""
    return make_untrained(TINY, tmp_path_factory.mktemp("tiny") / "backbone")


def make_untrained(configs: Path, target: Path) -> Path:
    """Write a backbone of untrained networks into `target`, shaped as a folder of configuration files says."""
    from recipevis.backbone.base import make
    from recipevis.config import load

    settings = load(ROOT / "params.yaml").backbone
    make(settings.model_copy(update={"source": "random", "random": str(configs)}), target)
    return target

"""What every test stands on: a home folder of its own, no network, and the data beside the project where it lies."""

import os

# Read when torch, matplotlib and the hub's library are imported, so set before any of them is.
os.environ.setdefault("OMP_NUM_THREADS", "2")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["MPLBACKEND"] = "Agg"

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(autouse=True)
def recipevis_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The test's own `RECIPEVIS_HOME`; also the environment is one that DVC did not start."""
    home = tmp_path / "recipevis-home"
    monkeypatch.setenv("RECIPEVIS_HOME", str(home))
    monkeypatch.delenv("DVC_ROOT", raising=False)
    return home


@pytest.fixture(scope="session")
def root() -> Path:
    """The project's root."""
    return ROOT


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real annotations and videos beside the project; they are never copied into it."""
    folder = ROOT.parent / "shared"
    if not (folder / "youcook2" / "youcookii_annotations_trainval.json").is_file():
        pytest.skip("../shared is absent: real annotations and videos lie beside the project on its own machines only")
    return folder

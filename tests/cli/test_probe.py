"""`recipevis doctor --probe`: real steps of the configured run, once its backbone and embeddings are there."""

import pytest
import torch
from accelerate.state import AcceleratorState
from typer.testing import CliRunner

from benchmarks import random_embeddings
from recipevis.cli import probe
from recipevis.cli.main import app
from recipevis.errors import InputError
from recipevis.model.networks import Backbone
from tests.conftest import tiny


@pytest.fixture
def workspace(parameters_of, tmp_path, tiny_backbone):
    """A function: the parameters of a tiny run, whose backbone and embeddings lie in the working folder."""

    def made(changes: dict[str, object] | None = None):
        parameters = parameters_of("params.yaml", tiny(changes))
        (tmp_path / "models").mkdir()
        (tmp_path / "models/backbone").symlink_to(tiny_backbone)
        random_embeddings.write(Backbone(tiny_backbone), 3, 32, tmp_path / "data/embeddings")
        table = random_embeddings.triplets()
        table = table.assign(sample_id="a", video_id=[f"v{n}" for n in range(len(table))], recipe_type="101", step=0)
        table.to_csv(tmp_path / "data/triplets.csv", index=False)
        AcceleratorState._reset_state()  # accelerate keeps the precision of the first trainer
        return parameters

    return made


def test_it_prints_seconds_memory_hours_and_disk(workspace, recipevis_home):
    workspace({"train.steps": 7200, "cycle.weight": 0.1})
    result = CliRunner().invoke(app, ["doctor", "--probe"])
    printed = result.stdout.partition("probe: ")[2]
    for word in ("s a step", "GiB", "7,200 steps", "models/recipevis", "checkpoints"):
        assert word in printed, result.output
    assert not recipevis_home.exists() or not list(recipevis_home.iterdir())


def test_the_first_steps_are_not_timed(monkeypatch):
    clock = iter([0, *(second for n in range(20) for second in [10 * n + (9 if n < 3 else 2), 10 * (n + 1)])])
    monkeypatch.setattr(probe.time, "perf_counter", lambda: next(clock))

    class Trainer:
        def loaded(self, first, end):
            return iter(range(first, end))

        def step(self, parts):
            pass

    assert probe.measure(Trainer(), torch.device("cpu")) == 2


@pytest.mark.parametrize(
    ("absent", "stage"),
    [("models/backbone", "backbone"), ("data/embeddings/images.json", "embed"), ("data/triplets.csv", "embed")],
)
def test_what_is_missing_names_the_stage_to_run(workspace, tmp_path, absent, stage):
    parameters = workspace()
    (tmp_path / absent).unlink()
    with pytest.raises(InputError, match=f"dvc repro {stage}"):
        probe.run(parameters)


@pytest.mark.parametrize(
    ("changes", "stage"), [({"backbone.source": "kitchen"}, "backbone"), ({"frames.pixels": 64}, "embed")]
)
def test_another_runs_networks_or_embeddings_are_refused(workspace, changes, stage):
    with pytest.raises(InputError, match=f"dvc repro {stage}"):
        probe.run(workspace(changes))


def test_too_little_memory_is_reported_with_a_remedy(workspace, monkeypatch):
    def full(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nmore")

    monkeypatch.setattr(probe, "measure", full)
    with pytest.raises(InputError, match="accumulation") as error:
        probe.run(workspace())
    assert "\n" not in str(error.value)

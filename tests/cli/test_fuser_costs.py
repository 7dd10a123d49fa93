"""The table of the fusers at the sizes that the parameters ask for."""

import pytest
from typer.testing import CliRunner

from recipevis.cli import fuser_costs, main
from recipevis.config import FUSERS
from recipevis.fusers.base import Shapes
from recipevis.model.networks import Backbone


def test_at_the_papers_sizes(parameters_of):
    rows = {row.name: row for row in fuser_costs.all_fusers(parameters_of())}
    shapes = Shapes(77, 768, 257, 1024, 3, 768)
    assert list(rows) == list(FUSERS)
    for name, row in rows.items():
        assert row.weights == count_weights(name, shapes, 768)
        assert row.share == row.weights / (row.weights + 859_520_964)
    kept = 77 * 768 + 257 * 1024 + 768 + 768  # the tokens in a row, the hidden layer before and after GELU
    assert rows["concat"].activations_mib == pytest.approx(4 * kept / 2**20)
    assert rows["baseline"].hidden is None
    assert rows["baseline"].activations_mib == 0


def test_at_the_configured_backbones_sizes_whatever_the_last_run_left(parameters_of, tmp_path, tiny_backbone):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/backbone").symlink_to(tiny_backbone)  # of another run
    weights = {}
    for name, changes in {
        "params.yaml": {},
        "params/paper.yaml": {},
        "a folder": {"backbone.source": "folder", "backbone.folder": str(tiny_backbone)},
    }.items():
        parameters = parameters_of("params.yaml" if changes else name, changes)
        weights[name] = {row.name: row.weights for row in fuser_costs.all_fusers(parameters)}["attend_to_image"]
    assert weights["params.yaml"] == 725_824  # as docs/demo.md has it
    assert weights["params/paper.yaml"] == 49_946_112
    assert weights["a folder"] == count_weights("attend_to_image", Backbone(tiny_backbone).shapes(3), 256)


def test_the_command_lists_every_fuser(parameters_of):
    parameters_of()
    result = CliRunner().invoke(main.app, ["fusers"])
    assert result.exit_code == 0, result.output
    assert all(name in result.stdout for name in FUSERS)
    assert "49,946,112" in result.stdout

"""`recipevis fusers`: the number of weights at the configured backbone's shapes, and the declared options."""

import pytest
from typer.testing import CliRunner

from recipevis.cli import fusers
from recipevis.cli.main import app
from recipevis.config import FUSERS


def weights(parameters) -> dict[str, int]:
    shapes, _ = fusers.configured_shapes(parameters)
    return {row.name: row.weights for row in fusers.count_all(parameters, shapes)}


def test_weights_at_the_papers_shapes(parameters_of):
    """Against the layers' sizes by hand: t, e, p, v, c, d are 77, 768, 257, 1024, 3, 768; the hidden width is 768."""
    text, image = 77 * 768, 257 * 1024
    outer = (768 + 1) * 3 * 768  # from the hidden layer to 3 condition tokens

    def attention(queries: int, context: int) -> int:
        return (queries + 1) * 768 + 2 * (context + 1) * 768 + (768 + 1) * 768 + 2 * 768

    expected = {
        "baseline": 0,
        "concat": (text + image + 1) * 768 + outer,
        "text_only": (text + 1) * 768 + outer,
        "image_only": (image + 1) * 768 + outer,
        "text_pooling": (768 + 1) * 1024 + (image + 1) * 768 + outer,
        "image_pooling": (1024 + 1) * 768 + (text + 1) * 768 + outer,
        "attend_to_image": attention(768, 1024) + (text + 1) * 768 + outer,
        "attend_to_text": attention(1024, 768) + (257 * 768 + 1) * 768 + outer,
    }
    counted = weights(parameters_of())
    assert {name: counted[name] for name in expected} == expected


def test_the_configured_backbone_counts_and_not_what_another_run_left(parameters_of, tmp_path, tiny_backbone):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/backbone").symlink_to(tiny_backbone)
    assert weights(parameters_of("params.yaml"))["attend_to_image"] == 725_824  # as docs/demo.md has it
    assert weights(parameters_of("params/paper.yaml"))["attend_to_image"] == 49_946_112
    folder = {"backbone.source": "folder", "backbone.folder": str(tiny_backbone)}
    assert weights(parameters_of("params.yaml", folder))["attend_to_image"] < 100_000


def test_a_matched_width_gives_about_the_same_weights(parameters_of):
    counts = weights(parameters_of(changes={"fuser_hidden": "matched"}))
    for name in ("concat", "text_pooling", "attend_to_text"):
        assert counts[name] == pytest.approx(counts["attend_to_image"], rel=0.01)


def test_options_are_listed_with_type_range_and_default():
    assert fusers.options_of("baseline") == []
    hidden, residual = fusers.options_of("attend_to_image")
    assert hidden[:4] == ("hidden", "integer", "≥ 1", "768")
    assert residual[:4] == ("residual", "boolean", "", "True")


def test_the_command_lists_every_fuser(parameters_of):
    parameters_of()
    result = CliRunner().invoke(app, ["fusers"])
    assert result.exit_code == 0, result.output
    assert all(name in result.stdout for name in FUSERS)
    assert "49,946,112" in result.stdout

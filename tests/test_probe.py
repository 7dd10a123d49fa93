"""What a run is said to cost: the arithmetic by hand, the measuring on networks as small as they get."""

import math

import pytest
import torch
from accelerate.state import AcceleratorState
from typer.testing import CliRunner

from recipevis import cli, probe
from recipevis.backbone import Backbone
from recipevis.embeddings import Embeddings
from recipevis.fusers import FUSERS, count_weights
from recipevis.parameters import Parameters, load
from recipevis.shapes import Shapes
from tests.conftest import TINY, set_parameters

COSTS = probe.Costs(
    device="a card",
    trained_weights=1000,
    fixed_s=2.0,
    image_s=0.5,
    checkpointed_image_s=0.75,
    cycle_image_s=1.0,
    fixed_gib=15.0,
    image_gib=0.5,
    checkpointed_image_gib=0.1,
    cycle_image_gib=2.0,
    embed_s=0.1,
    pass_s=0.25,
    picture_s=1.0,
)


@pytest.fixture
def made(root, tmp_path, monkeypatch):
    """A function: the parameters of a file, some of them changed, in an empty folder."""
    monkeypatch.chdir(tmp_path)

    def parameters(name: str = "params/paper.yaml", changes: dict[str, object] | None = None) -> Parameters:
        path = tmp_path / "params.yaml"
        path.write_text((root / name).read_text())
        set_parameters(path, changes or {})
        return load(path, FUSERS)

    return parameters


def tiny(changes: dict[str, object] | None = None) -> dict[str, object]:
    """Changes that make the demo's parameters a run on tiny untrained networks."""
    values = {"backbone.source": "random", "frames.pixels": 32, "fuser_hidden": 4, "train.batch_size": 4}
    for group, inner in TINY.items():
        for name, value in inner.items() if isinstance(inner, dict) else [(None, inner)]:
            values[f"backbone.random.{group}" + (f".{name}" if name else "")] = value
    return values | (changes or {})


def test_fusers_at_the_papers_sizes(made):
    rows = {row.name: row for row in probe.fusers(made())}
    shapes = Shapes(77, 768, 257, 1024, 3, 768)
    assert list(rows) == list(FUSERS)
    for name, row in rows.items():
        assert row.weights == count_weights(name, shapes, 768)
        assert row.share == row.weights / (row.weights + 859_520_964)
    kept = 77 * 768 + 257 * 1024 + 768 + 768  # the tokens in a row, the hidden layer before and after GELU
    assert rows["concat"].activations_mib == pytest.approx(4 * kept / 2**20)
    assert rows["baseline"].hidden is None
    assert rows["baseline"].activations_mib == 0


def test_fusers_at_the_kitchens_and_at_a_made_backbones_sizes(made, tmp_path, tiny_backbone):
    kitchen = {row.name: row for row in probe.fusers(made("params.yaml"))}
    assert kitchen["attend_to_image"].weights == 725_824  # as docs/demo.md has them
    (tmp_path / "models").mkdir()
    (tmp_path / "models/backbone").symlink_to(tiny_backbone)
    small = {row.name: row for row in probe.fusers(made("params.yaml"))}
    assert small["concat"].weights == count_weights("concat", Backbone(tiny_backbone).shapes(3), 256)


def test_images_of_the_cycle_loss(made, tiny_backbone):
    networks = Backbone(tiny_backbone)  # Stable Diffusion's schedule: amplified at most twofold up to step 562
    assert probe.cycle_images(made(), networks) == 4
    eligible = 32 * 0.563 * 0.9
    assert probe.cycle_images(made(changes={"cycle.images": None}), networks) == pytest.approx(eligible)
    unlimited = {"cycle.images": None, "cycle.max_amplification": None}
    assert probe.cycle_images(made(changes=unlimited), networks) == pytest.approx(32 * 0.9)


def test_hours_by_hand(made, tiny_backbone):
    networks = Backbone(tiny_backbone)
    told = probe.estimate(COSTS, made(), networks)
    assert told.hours["train"] == pytest.approx(100_000 * (2 + 32 * 0.5 + 4 * 1) / 3600)
    assert told.hours["sample"] == pytest.approx(4 * 3492 * (50 * 0.25 + 1) / 3600)
    assert told.hours["embed"] == pytest.approx((10_337 + 3_492) * 0.1 / 3600)
    assert told.memory_gib == 15 + 32 * 0.5 + 4 * 2
    assert 11 * told.hours["sample"] + 11 * 100_000 * 16 / 3600 < told.table_1_hours
    spread = {"train.processes": 4, "train.accumulation": 2, "cycle.weight": 0}
    told = probe.estimate(COSTS, made(changes=spread), networks)
    assert told.hours["train"] == pytest.approx(100_000 * (2 + 8 * 0.5) / 3600)
    assert told.memory_gib == 15 + 4 * 0.5
    checkpointed = {"train.gradient_checkpointing": True, "cycle.weight": 0}
    told = probe.estimate(COSTS, made(changes=checkpointed), networks)
    assert told.hours["train"] == pytest.approx(100_000 * (2 + 32 * 0.75) / 3600)
    assert told.memory_gib == pytest.approx(15 + 32 * 0.1)


def test_recipes_fit_their_cards_and_nothing_larger_does(made, tiny_backbone):
    small, middle, large = probe.recipes(COSTS, made(), Backbone(tiny_backbone))
    assert (small.images, small.accumulation, small.checkpointed) == (2, 16, False)  # 15 + 1 + 4 <= 20.1 < 15 + 2 + 8
    assert (middle.images, middle.accumulation) == (32, 1)  # 15 + 16 + 8 <= 40.2
    assert (large.images, large.accumulation) == (32, 1)
    heavy = probe.Costs(**{**vars(COSTS), "fixed_gib": 19.9, "cycle_image_gib": 0.05})
    tight = probe.recipes(heavy, made(), Backbone(tiny_backbone))[0]
    assert (tight.images, tight.accumulation, tight.checkpointed) == (1, 32, True)
    none = probe.recipes(probe.Costs(**{**vars(COSTS), "fixed_gib": 30.0}), made(), Backbone(tiny_backbone))[0]
    assert none.images == 0


def test_measured_on_tiny_networks(made, tmp_path):
    parameters = made("params.yaml", tiny())
    AcceleratorState._reset_state()
    with probe.backbone(parameters) as networks:
        costs = probe.measure(parameters, networks, tmp_path / "probe")
        weights = sum(weight.numel() for weight in networks.unet.parameters())
        weights += count_weights("attend_to_image", networks.shapes(3), 4)
    assert costs.trained_weights == weights
    assert costs.fixed_s + costs.image_s > 0
    assert costs.fixed_gib > 0.1  # the process itself
    assert all(math.isfinite(value) and value >= 0 for value in vars(costs).values() if isinstance(value, float))


def test_the_probe_leaves_nothing_behind(made, recipevis_home):
    AcceleratorState._reset_state()
    made("params.yaml", tiny())
    result = CliRunner().invoke(cli.app, ["doctor", "--probe"])
    assert "measured on cpu" in result.stdout
    assert "Table 1, 11 runs" in result.stdout
    assert "a card of 24 GB: 4 at once, train.accumulation: 1" in result.stdout
    assert "no card was at hand" in result.stdout
    assert list(recipevis_home.iterdir()) == []


def test_random_embeddings_are_a_cache(tiny_backbone, tmp_path):
    probe.random_embeddings(Backbone(tiny_backbone), 3, 32, tmp_path / "cache")
    cache, table = Embeddings(tmp_path / "cache"), probe.random_triplets()
    assert cache.text_tokens.shape[1:] == (12, 16)
    assert cache.latent_mean.shape[1:] == (4, 4, 4)
    assert set(table["sentence"]) <= cache.sentence_rows.keys()
    assert {*table["image"], *table["previous_image"]} <= cache.image_rows.keys()


def test_the_command_lists_every_fuser(made):
    made()
    result = CliRunner().invoke(cli.app, ["fusers"])
    assert result.exit_code == 0, result.output
    assert all(name in result.stdout for name in FUSERS)
    assert "49,946,112" in result.stdout


@pytest.mark.skipif(torch.cuda.is_available(), reason="of a CPU's memory; a card tells its own")
def test_the_peak_of_a_process_is_seen():
    def take() -> None:
        torch.ones(2**26)  # 256 MiB

    before = probe.measured(lambda: None, torch.device("cpu"))[1]
    assert probe.measured(take, torch.device("cpu"))[1] - before > 0.1

"""Measuring what a run costs, on networks as small as they get."""

import math

import pytest
import torch
from accelerate.state import AcceleratorState
from typer.testing import CliRunner

from recipevis.cli import main, probe, stand_ins
from recipevis.core import files
from recipevis.embeddings.writer import Embeddings
from recipevis.errors import InputError
from recipevis.fusers.base import count_weights
from recipevis.model.backbone import sources
from recipevis.model.networks import Backbone
from tests.conftest import tiny

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def no_accelerator_of_another_test():
    """Accelerate keeps the precision of the first one."""
    AcceleratorState._reset_state()


def test_measured_on_tiny_networks(parameters_of, tmp_path):
    parameters = parameters_of("params.yaml", tiny())
    with stand_ins.backbone(parameters) as networks:
        costs = probe.measure(parameters, networks, tmp_path / "probe")
        weights = sum(weight.numel() for weight in networks.unet.parameters())
        weights += count_weights("attend_to_image", networks.shapes(3), 4)
    assert costs.trained_weights == weights
    assert costs.fixed_s + costs.image_s > 0
    assert costs.fixed_gib > 0.1  # the process itself
    assert all(math.isfinite(value) and value >= 0 for value in vars(costs).values() if isinstance(value, float))


def test_it_leaves_nothing_behind(parameters_of, recipevis_home):
    parameters_of("params.yaml", tiny())
    result = CliRunner().invoke(main.app, ["doctor", "--probe"])
    assert "measured on cpu" in result.stdout
    assert "Table 1, 11 runs" in result.stdout
    assert "a card of 24, 48 or 80 GB: 4 at once, train.accumulation: 1" in result.stdout
    assert "no card was at hand" in result.stdout
    assert list(recipevis_home.iterdir()) == []


class Card:
    """Memory for so many images: more are refused."""

    def __init__(self, images: int):
        self.images, self.asked = images, []

    def taken(self, images: int) -> probe.Taken:
        """See `probe._taken`."""
        self.asked.append(images)
        if images > self.images:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return probe.Taken(1.0, 1.0)


def test_a_batch_that_a_card_cannot_hold_is_halved():
    card = Card(8)
    assert probe._largest([32, 16, 8, 4, 2], card.taken) == (8, probe.Taken(1.0, 1.0))
    assert card.asked == [32, 16, 8]
    with pytest.raises(torch.OutOfMemoryError):
        probe._largest([4, 2], Card(1).taken)


def test_a_card_too_small_for_two_images_is_told_in_one_line(parameters_of, tmp_path, monkeypatch):
    card = Card(1)
    monkeypatch.setattr(probe, "_taken", lambda trainer, settings, networks, images, **_: card.taken(images))
    parameters = parameters_of("params.yaml", tiny())
    with stand_ins.backbone(parameters) as networks, pytest.raises(InputError) as told:
        probe.measure(parameters, networks, tmp_path / "probe")
    assert str(told.value).startswith("out of memory: cpu")
    assert "\n" not in str(told.value)
    assert card.asked == [1, 1, 4, 2]


def test_stand_ins_are_those_the_parameters_ask_for(parameters_of, tmp_path, tiny_backbone):
    (tmp_path / "models").mkdir()
    (tmp_path / "models/backbone").symlink_to(tiny_backbone)  # of another run
    with stand_ins.backbone(parameters_of("params.yaml")) as networks:
        assert networks.folder == sources.KITCHEN / "backbone"
    sizes = tiny({"backbone.source": "hub", "backbone.random.text.width": 32})
    with stand_ins.backbone(parameters_of("params/paper.yaml", sizes)) as networks:
        assert networks.shapes(3).text_width == 32


def test_what_was_fetched_from_the_hub_is_taken_if_it_is_what_is_asked_for(parameters_of, tmp_path, tiny_backbone):
    parameters = parameters_of()
    pinned = parameters.backbone.stable_diffusion, parameters.backbone.clip
    made = tmp_path / "models/backbone"
    made.mkdir(parents=True)
    names = [f"{model.id}@{model.revision}" for model in pinned]
    files.write_json(made / "backbone.json", {"source": "hub", "stable_diffusion": names[0], "clip": names[1]})
    assert sources.folders(parameters.backbone) == (
        made.relative_to(tmp_path),
        made.relative_to(tmp_path) / "clip",
    )
    other = {"backbone.clip.revision": "0" * 40}
    assert sources.folders(parameters_of(changes=other).backbone) is None


def test_random_embeddings_are_a_cache(tiny_backbone, tmp_path):
    networks = Backbone(tiny_backbone)
    stand_ins.embeddings(networks, 3, 32, tmp_path / "cache")
    assert not {"clip", "vae", "unet"} & vars(networks).keys()  # from configurations: nothing is loaded for it
    cache, table = Embeddings(tmp_path / "cache"), stand_ins.triplets()
    assert cache.text_tokens.shape[1:] == (12, 16)
    assert cache.latent_mean.shape[1:] == (4, 4, 4)
    assert set(table["sentence"]) <= cache.sentence_rows.keys()
    assert {*table["image"], *table["previous_image"]} <= cache.image_rows.keys()


@pytest.mark.skipif(torch.cuda.is_available(), reason="of a CPU's memory; a card tells its own")
def test_the_peak_of_a_process_is_seen_and_not_that_of_the_measurement_before():
    def take() -> None:
        torch.ones(2**26)  # 256 MiB

    before = probe.measured(lambda: None, CPU).gib
    assert probe.measured(take, CPU).gib - before > 0.1
    assert probe.measured(lambda: None, CPU).gib - before < 0.1

"""Backbones: every source writes the same layout, sizes come from configuration files, misfits are refused."""

import json
import shutil

import pytest
import torch
from transformers import CLIPModel

from recipevis.backbone import hub, kitchen
from recipevis.backbone.base import make, source_of
from recipevis.backbone.encoder import fetch_encoder
from recipevis.config import BackboneConfig, HubModelConfig
from recipevis.core import files
from recipevis.errors import InputError
from recipevis.fusers.base import Shapes
from recipevis.model.networks import Backbone
from recipevis.model.schedule import load_scheduler
from recipevis.model.shapes import fuser_shapes
from tests.backbone.folders import UNET, VAE, change, from_folder, refused, rewrite, settings
from tests.conftest import TINY, make_untrained


def test_shapes_come_from_the_configurations(tiny_backbone):
    assert fuser_shapes(tiny_backbone, tiny_backbone / "clip", 3) == Shapes(12, 16, 2 * 2 + 1, 24, 3, 16)


# --- random


def test_untrained_networks_are_always_the_same(tiny_backbone, tmp_path):
    make_untrained(TINY, tmp_path / "again")
    for weights in (UNET, "clip/model.safetensors"):
        assert (tmp_path / "again" / weights).read_bytes() == (tiny_backbone / weights).read_bytes()


@pytest.mark.parametrize(
    ("file", "values", "named"),
    [
        ("unet/config.json", {"norm_num_groups": 3}, "unet"),
        ("text_encoder/config.json", {"num_attention_heads": 5}, "text_encoder"),
        ("text_encoder/config.json", {"vocab_size": 100}, "vocab_size = 100"),
        ("scheduler/scheduler_config.json", {"beta_schedule": "steep"}, "scheduler"),
    ],
)
def test_shapes_that_no_network_can_have_are_refused(tmp_path, file, values, named):
    configs = shutil.copytree(TINY, tmp_path / "configs")
    change(configs / file, values)
    with pytest.raises(InputError, match=named) as error:
        make_untrained(configs, tmp_path / "backbone")
    assert "\n" not in str(error.value)


def test_shapes_of_untrained_networks_are_known_before_they_are_made(tiny_backbone, tmp_path):
    folders = source_of(settings(source="random", random=str(TINY))).configurations()
    assert fuser_shapes(*folders, 3) == fuser_shapes(tiny_backbone, tiny_backbone / "clip", 3)
    missing = source_of(settings(source="random", random=str(tmp_path / "absent")))
    assert missing.check().state == "missing"
    with pytest.raises(InputError, match="absent"):
        missing.write(tmp_path / "backbone")


# --- folder


def test_a_folder_is_copied(folder, tmp_path):
    target = from_folder(folder, tmp_path / "backbone")
    for file in ("unet/config.json", VAE, "clip/preprocessor_config.json"):
        assert (target / file).read_bytes() == (folder / file).read_bytes()
    assert Backbone(target).origin["source"] == "folder"
    Backbone(target).unet(torch.zeros(1, 4, 4, 4), 0, encoder_hidden_states=torch.zeros(1, 3, 16))


def test_half_precision_weights_are_loaded_in_single(folder, tmp_path):
    rewrite(folder / UNET, lambda weights: {name: weight.half() for name, weight in weights.items()})
    backbone = Backbone(from_folder(folder, tmp_path / "backbone"))
    assert {weight.dtype for weight in backbone.unet.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    ("file", "key", "value", "numbers"),
    [
        ("unet/config.json", "cross_attention_dim", 32, ("32", "16")),
        ("unet/config.json", "in_channels", 9, ("9", "4")),
        ("tokenizer/tokenizer_config.json", "model_max_length", 77, ("77", "12")),
        ("clip/tokenizer_config.json", "model_max_length", 77, ("77", "12")),
    ],
)
def test_parts_that_do_not_fit_are_refused_with_both_numbers(folder, tmp_path, file, key, value, numbers):
    change(folder / file, {key: value})
    line = refused(folder, tmp_path / "backbone")
    assert all(number in line for number in numbers)
    assert not (tmp_path / "backbone").exists()


def test_pickled_weights_are_refused(folder, tmp_path):
    (folder / VAE).rename(folder / "vae" / "diffusion_pytorch_model.bin")
    assert "safetensors" in refused(folder, tmp_path / "backbone")


@pytest.mark.parametrize("spoil", ["missing", "another shape"])
@pytest.mark.parametrize(
    ("file", "name"),
    [
        (UNET, "conv_norm_out.weight"),
        (VAE, "decoder.conv_out.weight"),
        ("clip/model.safetensors", "text_projection.weight"),
        ("text_encoder/model.safetensors", "final_layer_norm.weight"),
    ],
)
def test_a_weight_that_would_be_random_is_refused(folder, tmp_path, file, name, spoil):
    def spoilt(weights):
        weight = weights.pop(name)
        return weights if spoil == "missing" else weights | {name: weight.repeat_interleave(2, 0)}

    rewrite(folder / file, spoilt)
    line = refused(folder, tmp_path / "backbone")
    assert file.partition("/")[0] in line
    assert name in line


@pytest.mark.parametrize(
    ("file", "key"),
    [
        ("tokenizer/tokenizer_config.json", "model_max_length"),
        ("clip/tokenizer_config.json", "model_max_length"),
        ("unet/config.json", "cross_attention_dim"),
        ("clip/config.json", "model_type"),
    ],
)
def test_a_configuration_that_lacks_a_key_is_named(folder, tmp_path, file, key):
    values = json.loads((folder / file).read_text())
    del values[key]
    (folder / file).write_text(json.dumps(values))
    line = refused(folder, tmp_path / "backbone")
    assert file in line
    assert key in line


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("tokenizer/tokenizer.json", "tokenizer.json"),
        ("clip/tokenizer.json", "tokenizer.json"),
        ("clip/preprocessor_config.json", "preprocessor_config.json"),
        ("scheduler/scheduler_config.json", "scheduler"),
    ],
)
def test_a_missing_file_is_named(folder, tmp_path, file, named):
    (folder / file).unlink()
    assert named in refused(folder, tmp_path / "backbone")


@pytest.mark.parametrize(
    ("file", "values", "named"),
    [
        ("scheduler/scheduler_config.json", {"beta_schedule": "steep"}, "steep"),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": "many"}, "scheduler"),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 0}, "scheduler"),
        ("scheduler/scheduler_config.json", {"prediction_type": "x0"}, "'x0'"),
        ("clip/preprocessor_config.json", {"crop_size": 32}, "32x32"),
        ("clip/preprocessor_config.json", {"size": "large"}, "preprocessor_config.json"),
        ("clip/tokenizer.json", {"model": None}, "clip"),
        ("tokenizer/tokenizer.json", {"model": None}, "tokenizer"),
    ],
)
def test_a_value_that_can_not_be_used_is_refused(folder, tmp_path, file, values, named):
    change(folder / file, values)
    assert named in refused(folder, tmp_path / "backbone")


def test_a_second_try_keeps_nothing_of_the_first(folder, tmp_path):
    from_folder(folder, tmp_path / "backbone")
    (folder / "tokenizer/tokenizer.json").unlink()
    refused(folder, tmp_path / "backbone")


def test_a_missing_folder_is_named(tmp_path):
    assert "nowhere" in refused(tmp_path / "nowhere", tmp_path / "backbone")


# --- hub


def of_hub(diffusion: str, clip: str) -> BackboneConfig:
    """The parameters of the source `hub` at two commits."""
    models = {"stable_diffusion": ("owner/diffusion", diffusion), "clip": ("owner/clip", clip)}
    named = {key: HubModelConfig(id=name, revision=commit) for key, (name, commit) in models.items()}
    return settings(source="hub", **named)


def test_the_hub_is_read_from_its_cache_at_the_pinned_commit(folder, tmp_path, monkeypatch):
    """A hub cache laid out by hand, offline: <cache>/models--owner--name/snapshots/<commit>/."""
    cache, commits = tmp_path / "hub", ("a" * 40, "b" * 40)
    diffusion = cache / "models--owner--diffusion" / "snapshots" / commits[0]
    shutil.copytree(folder, diffusion, ignore=shutil.ignore_patterns("clip"))
    shutil.copytree(folder / "clip", cache / "models--owner--clip" / "snapshots" / commits[1])
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    target = tmp_path / "backbone"
    make(of_hub(*commits), target)
    assert Backbone(target).origin == {
        "source": "hub",
        "stable_diffusion": f"owner/diffusion@{commits[0]}",
        "clip": f"owner/clip@{commits[1]}",
    }
    assert (target / "clip/model.safetensors").read_bytes() == (folder / "clip/model.safetensors").read_bytes()
    with pytest.raises(InputError, match="owner/diffusion@ccc"):
        make(of_hub("c" * 40, commits[1]), tmp_path / "other")


def test_shapes_of_the_hubs_networks_are_known_once_they_are_fetched(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    source = source_of(of_hub("a" * 40, "b" * 40))
    assert source.configurations() is None
    files.write_json(hub.MADE / "backbone.json", source.origin())
    assert source.configurations() == (hub.MADE, hub.MADE / "clip")
    assert source_of(of_hub("a" * 40, "c" * 40)).configurations() is None


# --- every source


@pytest.mark.parametrize("name", BackboneConfig.model_fields["source"].annotation.__args__)
def test_a_source_is_found_by_its_name_and_describes_itself(name, tmp_path):
    source = source_of(settings(source=name, folder=str(tmp_path)))
    origin = source.origin()
    assert origin["source"] == name
    assert all(source.licences(origin))
    assert source.untrained == (name == "random")


# --- kitchen and the second CLIP


def test_the_package_ships_the_kitchens_networks(tmp_path):
    make(settings(source="kitchen"), tmp_path / "backbone")
    assert Backbone(tmp_path / "backbone").origin["source"] == "kitchen"
    assert load_scheduler(tmp_path / "backbone/scheduler").config.rescale_betas_zero_snr
    fetch_encoder("kitchen", None, tmp_path / "encoder")
    assert CLIPModel.from_pretrained(tmp_path / "encoder").config.vision_config.hidden_size == 96
    shipped = [path for path in kitchen.NETWORKS.rglob("*") if path.suffix in (".safetensors", ".json")]
    assert sum(path.stat().st_size for path in shipped) < 12e6


def test_the_second_clip_may_be_absent_or_a_folder(folder, tmp_path):
    fetch_encoder(None, None, tmp_path / "none")
    assert json.loads((tmp_path / "none" / "encoder.json").read_text()) == {"encoder": None, "revision": None}
    fetch_encoder(str(folder / "clip"), None, tmp_path / "second")
    assert CLIPModel.from_pretrained(tmp_path / "second").config.vision_config.hidden_size == 24


@pytest.mark.parametrize("tower", ["text_model", "vision_model"])
def test_a_second_clip_without_a_tower_is_refused(folder, tmp_path, tower):
    rewrite(
        folder / "clip" / "model.safetensors",
        lambda weights: {name: weight for name, weight in weights.items() if not name.startswith(tower)},
    )
    with pytest.raises(InputError, match=tower):
        fetch_encoder(str(folder / "clip"), None, tmp_path / "encoder")


@pytest.mark.parametrize("file", ["tokenizer.json", "preprocessor_config.json"])
def test_a_second_clip_without_its_files_is_refused(folder, tmp_path, file):
    (folder / "clip" / file).unlink()
    with pytest.raises(InputError, match=file):
        fetch_encoder(str(folder / "clip"), None, tmp_path / "encoder")


def test_a_second_clip_must_be_a_clip_and_pinned(folder, tmp_path):
    change(folder / "clip" / "config.json", {"model_type": "blip"})
    with pytest.raises(InputError, match=r"blip.*siglip"):
        fetch_encoder(str(folder / "clip"), None, tmp_path / "encoder")
    with pytest.raises(InputError, match="encoder_revision"):
        fetch_encoder("owner/clip", None, tmp_path / "encoder")

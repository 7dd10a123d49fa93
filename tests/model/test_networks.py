"""Backbones: the same folder whatever the source, sizes from configurations, misfits refused."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from recipevis.config import BackboneConfig, HubModelConfig, load
from recipevis.errors import InputError
from recipevis.evaluation.encoders import ClipImages
from recipevis.fusers.base import Shapes
from recipevis.model.backbone import kitchen
from recipevis.model.backbone.base import make, source_of
from recipevis.model.backbone.encoder import fetch_encoder
from recipevis.model.networks import Backbone, encode_images, encode_sentences
from recipevis.model.schedule import load_scheduler
from recipevis.model.shapes import fuser_shapes
from tests.conftest import ROOT, TINY, make_untrained


@pytest.fixture
def folder(tiny_backbone, tmp_path):
    """A copy that a test may spoil."""
    return shutil.copytree(tiny_backbone, tmp_path / "model")


def settings(**changes) -> BackboneConfig:
    """The parameters `backbone` of the demo, some of them changed."""
    return load(ROOT / "params.yaml").backbone.model_copy(update=changes)


def of_folder(folder) -> BackboneConfig:
    """The parameters of the source `folder`."""
    return settings(source="folder", folder=str(folder))


def test_shapes_come_from_the_configurations(tiny_backbone):
    assert fuser_shapes(tiny_backbone, tiny_backbone / "clip", 3) == Shapes(12, 16, 2 * 2 + 1, 24, 3, 16)


def test_random_networks_are_always_the_same(tiny_backbone, tmp_path):
    make_untrained(TINY, tmp_path / "again")
    for weights in ("unet/diffusion_pytorch_model.safetensors", "clip/model.safetensors"):
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


def test_text_tokens_are_padded_unmasked_and_pooled_at_the_end_of_text(tiny_backbone):
    backbone = Backbone(tiny_backbone)
    tokens, pooled = encode_sentences(backbone.text_encoder, backbone.tokenizer, ["add", "", "a very long sentence"])
    assert tokens.shape == (3, 12, 16)
    ids = backbone.tokenizer("add").input_ids  # start, a, d, d</w>, end
    assert torch.equal(pooled[0], tokens[0, len(ids) - 1])
    assert torch.equal(pooled[1], tokens[1, 1])
    assert torch.equal(pooled[2], tokens[2, 11])  # truncated: the end of text is the last token
    unmasked = backbone.text_encoder(torch.tensor([ids + [backbone.tokenizer.pad_token_id] * (12 - len(ids))]))
    torch.testing.assert_close(tokens[0], unmasked.last_hidden_state[0])


def test_image_tokens_hold_the_class_token_and_pooling_is_its_norm(tiny_backbone):
    backbone = Backbone(tiny_backbone)
    picture = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    tokens, pooled = encode_images(backbone.clip.vision_model, backbone.processor, [picture])
    assert tokens.shape == (1, 5, 24)
    torch.testing.assert_close(pooled[0], backbone.clip.vision_model.post_layernorm(tokens[0, 0]))
    measured = ClipImages(tiny_backbone / "clip", "cpu", batch_size=2).pooled([picture] * 3)
    assert measured.dtype == np.float32
    np.testing.assert_allclose(measured, pooled.repeat(3, 1), rtol=1e-5, atol=1e-6)


def test_a_folder_becomes_the_same_backbone(folder, tmp_path):
    target = tmp_path / "backbone"
    make(of_folder(folder), target)
    for file in ("unet/config.json", "vae/diffusion_pytorch_model.safetensors", "clip/preprocessor_config.json"):
        assert (target / file).read_bytes() == (folder / file).read_bytes()
    assert Backbone(target).origin["source"] == "folder"
    Backbone(target).unet(torch.zeros(1, 4, 4, 4), 0, encoder_hidden_states=torch.zeros(1, 3, 16))


def test_a_folder_in_half_precision_is_loaded_in_single(folder, tmp_path):
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    save_file({k: v.half() for k, v in load_file(weights).items()}, weights, metadata={"format": "pt"})
    make(of_folder(folder), tmp_path / "backbone")
    assert {w.dtype for w in Backbone(tmp_path / "backbone").unet.parameters()} == {torch.float32}


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
    with pytest.raises(InputError) as error:
        make(of_folder(folder), tmp_path / "backbone")
    assert all(number in str(error.value) for number in numbers)
    assert not (tmp_path / "backbone").exists()


def test_pickled_weights_are_refused(folder, tmp_path):
    (folder / "vae" / "diffusion_pytorch_model.safetensors").rename(folder / "vae" / "diffusion_pytorch_model.bin")
    with pytest.raises(InputError, match="pickled weights are refused"):
        make(of_folder(folder), tmp_path / "backbone")


def change(path, values: dict) -> None:
    """Set keys of a JSON file."""
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def without(path, name: str) -> None:
    """Take one tensor out of a safetensors file."""
    weights = load_file(path)
    del weights[name]
    save_file(weights, path, metadata={"format": "pt"})


@pytest.mark.parametrize(
    ("part", "file", "name"),
    [
        ("unet", "diffusion_pytorch_model", "conv_norm_out.weight"),
        ("vae", "diffusion_pytorch_model", "decoder.conv_out.weight"),
        ("clip", "model", "text_projection.weight"),
        ("text_encoder", "model", "final_layer_norm.weight"),
    ],
)
def test_missing_weights_are_refused_not_drawn_at_random(folder, tmp_path, part, file, name):
    without(folder / part / f"{file}.safetensors", name)
    with pytest.raises(InputError, match=f"weights are missing: {name}"):
        make(of_folder(folder), tmp_path / "backbone")


@pytest.mark.parametrize(
    ("part", "file", "name"),
    [
        ("unet", "diffusion_pytorch_model", "conv_norm_out.weight"),
        ("clip", "model", "text_projection.weight"),
        ("text_encoder", "model", "final_layer_norm.weight"),
    ],
)
def test_weights_of_another_shape_are_named(folder, tmp_path, part, file, name):
    path = folder / part / f"{file}.safetensors"
    weights = load_file(path)
    save_file(weights | {name: weights[name].repeat_interleave(2, 0)}, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=f"/{part}: .*{name}"):
        make(of_folder(folder), tmp_path / "backbone")


@pytest.mark.parametrize(
    ("file", "key", "message"),
    [
        ("tokenizer/tokenizer_config.json", "model_max_length", "'model_max_length' is missing"),
        ("clip/tokenizer_config.json", "model_max_length", "'model_max_length' is missing"),
        ("unet/config.json", "cross_attention_dim", "'cross_attention_dim' is missing"),
        ("clip/config.json", "model_type", "'model_type' is missing"),
    ],
)
def test_a_configuration_that_lacks_a_key_is_told(folder, tmp_path, file, key, message):
    values = json.loads((folder / file).read_text())
    del values[key]
    (folder / file).write_text(json.dumps(values))
    with pytest.raises(InputError, match=message):
        make(of_folder(folder), tmp_path / "backbone")


@pytest.mark.parametrize(
    ("file", "message"),
    [
        ("tokenizer/tokenizer.json", "holds no tokenizer"),
        ("clip/tokenizer.json", "holds no tokenizer"),
        ("clip/preprocessor_config.json", "readable configuration"),
        ("scheduler/scheduler_config.json", "readable noise schedule"),
    ],
)
def test_a_file_that_is_missing_is_told(folder, tmp_path, file, message):
    (folder / file).unlink()
    with pytest.raises(InputError, match=message):
        make(of_folder(folder), tmp_path / "backbone")


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("scheduler/scheduler_config.json", {"beta_schedule": "steep"}, "steep"),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": "many"}, "readable noise schedule"),
        ("scheduler/scheduler_config.json", {"num_train_timesteps": 0}, "readable noise schedule"),
        ("scheduler/scheduler_config.json", {"prediction_type": "x0"}, "'x0'; must be epsilon, v_prediction or sample"),
        ("clip/preprocessor_config.json", {"crop_size": 32}, "images, 32x32, do not fit CLIP's, 16x16"),
        ("clip/preprocessor_config.json", {"size": "large"}, "can't prepare an image"),
        ("clip/tokenizer.json", {"model": None}, "clip: no readable tokenizer"),
        ("tokenizer/tokenizer.json", {"model": None}, "tokenizer: no readable tokenizer"),
    ],
)
def test_a_value_that_is_of_no_use_is_told_in_one_line(folder, tmp_path, file, values, message):
    change(folder / file, values)
    with pytest.raises(InputError, match=message) as error:
        make(of_folder(folder), tmp_path / "backbone")
    assert "\n" not in str(error.value)


def test_a_second_try_keeps_nothing_of_the_first(folder, tmp_path):
    make(of_folder(folder), tmp_path / "backbone")
    for file in ("clip/tokenizer.json", "tokenizer/tokenizer.json"):
        kept = (folder / file).rename(tmp_path / "kept")
        with pytest.raises(InputError, match="holds no tokenizer"):
            make(of_folder(folder), tmp_path / "backbone")
        kept.rename(folder / file)


@pytest.mark.parametrize("tower", ["text_model", "vision_model"])
def test_an_encoder_without_a_tower_is_refused(folder, tmp_path, tower):
    path = folder / "clip" / "model.safetensors"
    weights = {name: w for name, w in load_file(path).items() if not name.startswith(tower)}
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=f"weights are missing: {tower}"):
        fetch_encoder(str(folder / "clip"), None, tmp_path / "encoder")


@pytest.mark.parametrize(
    ("file", "message"),
    [("tokenizer.json", "holds no tokenizer"), ("preprocessor_config.json", "readable configuration")],
)
def test_an_encoder_without_its_files_is_refused(folder, tmp_path, file, message):
    (folder / "clip" / file).unlink()
    with pytest.raises(InputError, match=message):
        fetch_encoder(str(folder / "clip"), None, tmp_path / "encoder")


def test_an_encoder_must_be_a_clip_and_pinned(folder, tmp_path):
    change(folder / "clip" / "config.json", {"model_type": "siglip"})
    with pytest.raises(InputError, match="must be 'clip'"):
        fetch_encoder(str(folder / "clip"), None, tmp_path / "encoder")
    with pytest.raises(InputError, match="encoder_revision"):
        fetch_encoder("owner/clip", None, tmp_path / "encoder")


def test_a_missing_folder_is_told(tmp_path):
    with pytest.raises(InputError, match="readable configuration"):
        make(of_folder(tmp_path / "nowhere"), tmp_path / "backbone")


def of_hub(diffusion: str, clip: str) -> BackboneConfig:
    """The parameters of the source `hub` at two commits."""
    return settings(
        source="hub",
        stable_diffusion=HubModelConfig(id="owner/diffusion", revision=diffusion),
        clip=HubModelConfig(id="owner/clip", revision=clip),
    )


def test_the_hub_is_read_from_its_cache_at_the_pinned_revision(folder, tmp_path, monkeypatch):
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
    with pytest.raises(InputError, match="from the hub"):
        make(of_hub("c" * 40, commits[1]), tmp_path / "other")


def test_the_second_encoder_may_be_absent_or_a_folder(folder, tmp_path):
    fetch_encoder(None, None, tmp_path / "none")
    assert json.loads((tmp_path / "none" / "encoder.json").read_text()) == {"encoder": None, "revision": None}
    fetch_encoder(str(folder / "clip"), None, tmp_path / "second")
    assert ClipImages(tmp_path / "second", "cpu").pooled([np.zeros((8, 8, 3), np.uint8)]).shape == (1, 24)


def test_the_package_ships_the_kitchens_networks(tmp_path):
    make(settings(source="kitchen"), tmp_path / "backbone")
    backbone = Backbone(tmp_path / "backbone")
    assert backbone.origin["source"] == "kitchen"
    assert load_scheduler(backbone.folder / "scheduler").config.rescale_betas_zero_snr
    fetch_encoder("kitchen", None, tmp_path / "encoder")
    assert ClipImages(tmp_path / "encoder", "cpu").pooled([np.zeros((8, 8, 3), np.uint8)]).shape == (1, 96)
    shipped = [path for path in kitchen.NETWORKS.rglob("*") if path.suffix in (".safetensors", ".json")]
    assert sum(path.stat().st_size for path in shipped) < 12e6

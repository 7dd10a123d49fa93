"""The script that pretrains the toy kitchen's networks, for a few steps."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from transformers import CLIPModel

from recipevis.backbone import untrained
from recipevis.backbone.base import make
from recipevis.backbone.encoder import IMAGE, fetch_encoder
from recipevis.config import load
from recipevis.model.networks import Backbone
from recipevis.model.schedule import load_scheduler
from recipevis.model.shapes import fuser_shapes
from scripts import pretrain_kitchen as script
from tests.conftest import ROOT

FEW = {"recipe_count": 12, "vae_steps": 4, "clip_steps": 2, "unet_steps": 2, "image_encoder_steps": 2}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pretraining")
    script.main(out=folder / "out", work=folder / "work", **FEW)
    return folder


@pytest.mark.slow
def test_its_networks_are_a_backbone_and_an_encoder(made, tmp_path):
    folder = {"source": "folder", "folder": str(made / "out" / "backbone")}
    make(load(ROOT / "params.yaml").backbone.model_copy(update=folder), tmp_path / "backbone")
    fetch_encoder(str(made / "out" / "encoder"), None, tmp_path / "encoder")
    backbone = Backbone(tmp_path / "backbone")
    assert fuser_shapes(backbone.folder, backbone.folder / "clip", 3).text_tokens == 40
    schedule = load_scheduler(backbone.folder / "scheduler").config
    assert (schedule.prediction_type, schedule.timestep_spacing) == ("v_prediction", "trailing")
    own = backbone.clip.text_model.state_dict()
    assert all(torch.equal(weight, own[name]) for name, weight in backbone.text_encoder.state_dict().items())
    fetch_encoder(str(made / "out" / "image_encoder"), None, tmp_path / "image_encoder", role=IMAGE)
    measuring = CLIPModel.from_pretrained(tmp_path / "encoder").text_model.state_dict()
    assert any(not torch.equal(weight, own[name]) for name, weight in measuring.items())


@pytest.mark.slow
def test_a_finished_part_is_kept_and_the_rest_is_the_same(made, monkeypatch):
    files = sorted((made / "out").rglob("*.safetensors"))
    before = [file.read_bytes() for file in files]
    monkeypatch.setattr(script, "train_vae", lambda *arguments: pytest.fail("the VAE was finished"))
    (unet,) = made.glob("work/*/unet.safetensors")
    unet.unlink()
    script.main(out=made / "out", work=made / "work", **FEW)
    assert [file.read_bytes() for file in files] == before


def test_a_new_vae_passes_colours_through():
    vae = untrained.make_networks(script.read_configs(900))["vae"]
    script.pass_colours_through(vae)
    scenes = script.Scenes.of_recipes(5, 4)
    with torch.no_grad():
        images = scenes.for_vae(np.arange(4))
        decoded = vae.decode(vae.encode(images).latent_dist.mean).sample
    for channel in range(3):  # up to an offset, which is soon learned
        colours = torch.stack([F.avg_pool2d(x, 8)[:, channel].flatten() for x in (decoded, images)])
        assert torch.corrcoef(colours)[0, 1] > 0.95  # at random 0 to 0.5


@torch.no_grad()
def test_standardised_latents_decode_to_the_same_picture():
    torch.manual_seed(0)
    configs = script.read_configs(900)
    configs["vae"]["block_out_channels"] = [8, 8, 8, 8]
    vae = untrained.make_networks(configs)["vae"]
    pictures = torch.rand((4, 3, 32, 32)) * 2 - 1
    posterior = vae.encode(pictures).latent_dist
    before = vae.decode(posterior.mean).sample
    script.standardise_latents(vae, posterior.mean)
    after = vae.encode(pictures).latent_dist
    assert torch.allclose(vae.decode(after.mean).sample, before, atol=1e-3)
    scaled = after.mean * vae.config.scaling_factor
    assert torch.allclose(scaled.mean((0, 2, 3)), torch.zeros(4), atol=1e-3)
    assert torch.allclose(scaled.std((0, 2, 3)), torch.ones(4), atol=1e-3)
    assert torch.allclose(
        after.std * vae.config.scaling_factor, posterior.std / posterior.mean.std((0, 2, 3)).view(1, 4, 1, 1), rtol=1e-3
    )


def test_the_dense_condition_is_the_images_own_and_noisy():
    scenes, scaled = script.Scenes.of_recipes(5, 12), torch.randn(50, 4, 8, 8)
    tokenizer = script.new_tokenizer(scenes)
    encoder = untrained.make_networks(script.read_configs(len(tokenizer)))["text_encoder"]
    conditions = script.Conditions(encoder, tokenizer, scenes, scaled)
    chosen = np.array([3, 9, 3])
    words = conditions(1, chosen, np.random.default_rng(0))
    dense = conditions(0, chosen, np.random.default_rng(0))
    assert words.shape == (3, 40, 64)
    assert dense.shape == (3, 3, 64)
    own = script.principal_components(scaled, 192).unflatten(1, (3, 64))
    distances = (dense[:, None] - own).flatten(2).norm(dim=2)  # to every scene's
    assert distances.argmin(1).tolist() == [3, 9, 3]
    assert (distances.min(1).values > 0).all()
    assert not torch.equal(dense[0], dense[2])


def test_principal_components_keep_their_order_and_deviate_by_one():
    mixed = torch.randn(300, 6) * torch.tensor([9.0, 4, 1, 0.3, 0.1, 0.02])
    components = script.principal_components(mixed.view(300, 1, 2, 3), 4)
    assert components.shape == (300, 4)
    assert components.std().item() == pytest.approx(1, abs=1e-4)
    spread = components.std(0)
    assert torch.allclose(spread / spread[0], torch.tensor([9.0, 4, 1, 0.3]).div(9).sqrt(), atol=0.1)
    for index in range(4):
        assert torch.corrcoef(torch.stack([components[:, index], mixed[:, index]]))[0, 1].abs() > 0.95
    assert not script.principal_components(mixed[:3].view(3, 1, 2, 3), 5)[:, 3:].any()


@pytest.mark.slow
def test_the_schedule_ends_in_noise_and_leaves_little_of_most_images(made):
    signal = load_scheduler(made / "out" / "backbone" / "scheduler").alphas_cumprod.sqrt()
    assert signal[-1] < 1e-4
    assert (signal < 0.2).float().mean() > 0.5


def test_every_word_is_one_token():
    scenes = script.Scenes.of_recipes(script.SEED, 100)
    tokenizer = script.new_tokenizer(scenes)
    sentences = [step.sentence for step in scenes.steps] + scenes.captions(
        np.arange(len(scenes)), np.random.default_rng(0)
    )
    for sentence in sentences:
        ids = tokenizer(sentence).input_ids
        assert ids[0] == tokenizer.bos_token_id
        assert ids[-1] == tokenizer.eos_token_id
        assert len(ids) <= 40
        assert len(ids) - 2 == len(sentence.replace(",", " ,").split())
    assert tokenizer("a zucchini").input_ids != tokenizer("a turnip").input_ids  # bytes for what it does not know

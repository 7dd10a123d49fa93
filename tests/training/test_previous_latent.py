"""The previous image's latent as input of the UNet, appended tokens, and adapters: what they change and what not."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from diffusers import StableDiffusionPipeline
from PIL import Image
from safetensors.torch import load_file

from benchmarks import random_embeddings
from recipevis import images
from recipevis.config import CycleConfig
from recipevis.embeddings.reader import Embeddings
from recipevis.model import adapters
from recipevis.model.latents import LatentScaling
from recipevis.model.networks import Backbone
from recipevis.sampling.pipeline import assemble, load_pipeline, load_trained
from recipevis.sampling.sampler import Sampler, generate_recipe
from recipevis.training.batches import Batches
from recipevis.training.trainer import new_conditioner, new_trainer
from tests.training.test_trainer import interrupt_after, settings, weights_hash

NO_CYCLE = CycleConfig(weight=0, max_amplification=2.0, images=1)
FUSERS = ("baseline", "attend_to_image")


@pytest.fixture(scope="module")
def cache(tiny_backbone, tmp_path_factory) -> Embeddings:
    folder = tmp_path_factory.mktemp("cache") / "embeddings"
    random_embeddings.write(Backbone(tiny_backbone), 3, 32, folder)
    return Embeddings(folder)


@pytest.fixture
def make(tiny_backbone, cache):
    """A function: a fresh trainer and its backbone."""

    def fresh(fuser="baseline", condition="replace", previous_latent=True, first_latent=False, **changes):
        backbone = Backbone(tiny_backbone)
        options = {} if fuser == "baseline" else {"hidden": 4}
        conditioner = new_conditioner(backbone, fuser, options, 3, 0, condition, previous_latent, first_latent)
        train = settings(**changes)
        return new_trainer(backbone, conditioner, random_embeddings.triplets(), cache, train, NO_CYCLE, 32, 0), backbone

    return fresh


@torch.no_grad()
def prediction(trainer, step=0):
    [(batch, _)] = trainer.load(step)
    batch = batch.to(torch.device("cpu"))
    return trainer.denoiser(batch.noise, batch.timesteps, batch.embeddings)


def picture(seed: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (32, 32, 3), dtype=np.uint8))


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("fuser", FUSERS)
def test_before_the_first_step_it_is_the_model_without_it(make, fuser, first):
    """To the bit: the new channels have zero weights."""
    with_latent, without = make(fuser, first_latent=first)[0], make(fuser, previous_latent=False)[0]
    assert with_latent.denoiser.unet.config.in_channels == (12 if first else 8)
    assert without.denoiser.unet.config.in_channels == 4
    assert torch.equal(prediction(with_latent), prediction(without))


def test_gradient_reaches_the_new_channels(make):
    trainer, backbone = make(warmup_steps=0, dropout_image=0.0, dropout_both=0.0)
    trainer.step(trainer.load(0))
    new = backbone.unet.conv_in.weight[:, 4:]
    assert (new.abs().flatten(1).amax(1) > 0).all()  # in every output channel
    changed = prediction(trainer)
    [(batch, _)] = trainer.load(0)
    batch = batch.to(torch.device("cpu"))
    object.__setattr__(batch.embeddings, "latent", -batch.embeddings.latent)
    with torch.no_grad():
        assert not torch.equal(trainer.denoiser(batch.noise, batch.timesteps, batch.embeddings), changed)


def test_the_latent_is_the_scaled_mean_of_the_previous_image_and_zero_where_it_is_dropped(make, cache):
    trainer, backbone = make(batch_size=8, dropout_text=0.0, dropout_image=0.3, dropout_both=0.3)
    batches, scaling = trainer.batches["training"], LatentScaling(backbone.vae.config)
    draws = batches.training(0, 8, settings(dropout_text=0.0, dropout_image=0.3, dropout_both=0.3))
    table = random_embeddings.triplets()
    previous = table[table.subset == "training"].previous_image.iloc[draws.rows].map(cache.image_rows)
    expected = scaling.scale(torch.from_numpy(cache.latent_mean[previous.to_numpy()]).float())
    latents = batches.load(draws).embeddings.latent
    assert draws.image_dropped.any()
    assert not draws.image_dropped.all()
    assert not latents[draws.image_dropped].any()
    assert torch.equal(latents[~draws.image_dropped], expected[~draws.image_dropped])


def test_the_first_image_is_that_of_the_recipe(cache, tiny_backbone):
    """Blank at a first step; the previous image's where the first step has no frame."""
    items = [*cache.image_rows][1:7]
    steps = [("a", 0), ("a", 1), ("a", 2), ("b", 1), ("b", 2), ("c", 0)]  # the first step of b has no frame
    previous = ["", items[0], items[1], items[5], items[3], ""]
    table = pd.DataFrame(steps, columns=["video_id", "step"]).assign(sentence="", image=items, previous_image=previous)
    scaling = LatentScaling(Backbone(tiny_backbone).vae.config)
    found = Batches(cache, table, scaling, 1000, 0).embeddings_of(np.arange(6), 0).first_latent
    wanted = [cache.image_rows[name] for name in ("", items[0], items[0], items[5], items[3], "")]
    assert torch.equal(found, scaling.scale(torch.from_numpy(cache.latent_mean[wanted]).float()))


def test_a_model_of_two_latents_is_given_both(make, tmp_path):
    """In training and in the pipeline; without a first image the previous one takes its place."""
    trainer, backbone = make("baseline", first_latent=True, steps=2)
    trainer.run(tmp_path / "work")
    with torch.no_grad():
        backbone.unet.conv_in.weight[:, 4:] += 0.05
    made = assemble(backbone, trainer.denoiser.conditioner, backbone.unet, 32, "white", num_inference_steps=2)
    made.save_pretrained(tmp_path / "model")
    pipeline = load_pipeline(tmp_path / "model", "cpu")
    assert pipeline.unet.config.in_channels == 12

    def draw(image, first, **more):
        random = torch.Generator().manual_seed(1)
        settings = {"guidance_scale": 2.0, "output_type": "latent"} | more
        return pipeline("stir", image, random, first_image=first, **settings).images

    one, other = picture(0), picture(1)
    assert not torch.equal(draw(one, one), draw(one, other))
    assert not torch.equal(draw(one, one), draw(other, one))
    assert torch.equal(draw(one, None), draw(one, one))
    assert torch.equal(draw(one, other, drop_image=True), draw(other, one, drop_image=True))
    seen, forward = [], pipeline.unet.forward
    pipeline.unet.forward = lambda x, *a, **k: seen.append(x) or forward(x, *a, **k)
    pipeline(["stir", "mix"], [one, None], first_image=[other, None], num_inference_steps=1, guidance_scale=1.0)
    pixels = images.to_vae([np.asarray(image) for image in (one, other, pipeline.blank_image)])
    with torch.no_grad():
        means = LatentScaling(pipeline.vae.config).scale(pipeline.vae.encode(pixels).latent_dist.mean)
    torch.testing.assert_close(seen[0][0, 4:], torch.cat([means[0], means[1]]), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(seen[0][1, 4:], torch.cat([means[2], means[2]]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("fuser", "latent", "text_alone", "image_alone"),
    [("baseline", False, False, True), ("baseline", True, True, True), ("image_only", False, True, False)],
)
def test_the_null_branch_gets_the_same_share_in_every_model(make, fuser, latent, text_alone, image_alone):
    """A model of one condition loses it in `dropout_both` of the samples, not in `dropout_text` more."""
    shares = {"dropout_text": 0.2, "dropout_image": 0.2, "dropout_both": 0.3}
    asked = make(fuser, previous_latent=latent, **shares)[0]._dropout
    assert asked.dropout_both == 0.3
    assert asked.dropout_text == (0.2 if text_alone else 0)
    assert asked.dropout_image == (0.2 if image_alone else 0)


def test_appended_tokens_follow_the_sentences(make):
    trainer, _ = make("attend_to_image", "append", previous_latent=False)
    alone, _ = make("attend_to_image", "replace", previous_latent=False)
    [(batch, _)] = trainer.load(0)
    embeddings = batch.to(torch.device("cpu")).embeddings
    with torch.no_grad():
        tokens, fused = (one.denoiser.conditioner(embeddings).tokens for one in (trainer, alone))
    length = embeddings.text.shape[1]
    assert torch.equal(tokens[:, :length], embeddings.text)
    assert torch.equal(tokens[:, length:], fused)
    assert make("image_only", "append", False)[0].denoiser.conditioner.uses_text


@pytest.mark.parametrize("fuser", FUSERS)
def test_a_saved_model_draws_the_same(make, tmp_path, fuser):
    trainer, backbone = make(fuser, "replace" if fuser == "baseline" else "append", steps=2)
    trainer.run(tmp_path / "work")
    made = assemble(backbone, trainer.denoiser.conditioner, backbone.unet, 32, "white", num_inference_steps=2)
    made.save_pretrained(tmp_path / "model")
    again = load_pipeline(tmp_path / "model", "cpu")
    assert again.unet.config.in_channels == 8
    assert again.conditioner.uses_image

    def draw(pipeline, image, **more):
        random = torch.Generator().manual_seed(1)
        return pipeline("stir", image, random, guidance_scale=2.0, output_type="latent", **more).images

    with torch.no_grad():
        backbone.unet.conv_in.weight[:, 4:] *= 100  # two steps have moved it little
    made.save_pretrained(tmp_path / "model")
    again = load_pipeline(tmp_path / "model", "cpu")
    torch.testing.assert_close(draw(again, picture(0)), draw(made, picture(0)), rtol=1e-4, atol=1e-4)
    assert not torch.equal(draw(again, picture(0)), draw(again, picture(1)))
    assert not torch.equal(draw(again, picture(0)), draw(again, None))
    assert draw(again, picture(0).resize((50, 40))).shape == (1, 4, 4, 4)  # of any size
    assert torch.equal(draw(again, picture(0), drop_image=True), draw(again, picture(1), drop_image=True))


def test_a_model_of_before_draws_the_same_bytes(make, tmp_path):
    """Its conditioner's configuration has none of the new keys."""
    trainer, backbone = make("attend_to_image", previous_latent=False)
    made = assemble(backbone, trainer.denoiser.conditioner, backbone.unet, 32, "white", num_inference_steps=2)
    drawn = []
    for name in ("now", "before"):
        made.save_pretrained(tmp_path / name)
        if name == "before":
            path = tmp_path / name / "conditioner/config.json"
            new = ("condition", "previous_latent", "first_latent")
            path.write_text(json.dumps({k: v for k, v in json.loads(path.read_text()).items() if k not in new}))
        pipeline = load_pipeline(tmp_path / name, "cpu")
        pictures = list(generate_recipe(Sampler(pipeline, 0), ["melt the butter", "fry an egg"]))
        drawn.append(b"".join(image.tobytes() for image in pictures))
    assert drawn[0] == drawn[1]


def test_a_pipeline_gives_the_unet_what_training_does(make, tmp_path, monkeypatch):
    """The dropped image's latent is zero, the shown one's is the VAE's mean; both terms in one pass."""
    trainer, backbone = make("baseline")
    pipeline = assemble(backbone, trainer.denoiser.conditioner, backbone.unet, 32, "white")
    pipeline.set_progress_bar_config(disable=True)
    seen, forward = [], backbone.unet.forward
    monkeypatch.setattr(backbone.unet, "forward", lambda x, *a, **k: seen.append(x) or forward(x, *a, **k))
    image = picture(3)
    pipeline("stir", image, num_inference_steps=1, guidance_scale=3.0, output_type="latent")
    with torch.no_grad():
        pixels = torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)[None].float() / 127.5 - 1
        mean = LatentScaling(backbone.vae.config).scale(backbone.vae.encode(pixels).latent_dist.mean)
    null, shown = seen[0].chunk(2)
    assert torch.equal(null[:, :4], shown[:, :4])  # the same noise, of the VAE's channels
    assert not null[:, 4:].any()
    torch.testing.assert_close(shown[:, 4:], mean)


def test_adapters_change_nothing_before_the_first_step(make):
    with_adapters, without = make(lora_rank=2)[0], make()[0]
    assert torch.equal(prediction(with_adapters), prediction(without))


def test_adapters_are_all_that_is_trained_and_saved(make, tmp_path, tiny_backbone):
    trainer, backbone = make("attend_to_image", lora_rank=2, steps=3, checkpoint_every=1)
    trained = [name for name, weight in backbone.unet.named_parameters() if weight.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)
    assert any(name.startswith("conv_in") for name in trained)  # where the previous latent enters
    before = weights_hash(Backbone(tiny_backbone).unet)
    summary = trainer.summary(trainer.run(tmp_path / "work"))
    assert summary["unet_parameters"] == sum(dict(backbone.unet.named_parameters())[name].numel() for name in trained)
    adapters.save(backbone.unet, tmp_path / "trained/lora")
    trainer.denoiser.conditioner.save_pretrained(tmp_path / "trained/conditioner")
    saved = load_file(tmp_path / "trained/lora" / adapters.FILE)
    assert sum(w.numel() for w in saved.values()) == sum(
        w.numel() for w in backbone.unet.parameters() if w.requires_grad
    )
    [checkpoint] = (tmp_path / "work").glob("checkpoint-*")
    state = load_file(checkpoint / "model.safetensors")
    assert not [name for name in state if name.startswith("unet.") and "lora_" not in name]
    # merged, it is the trained model and has the names of a plain UNet; its base is the backbone's
    fresh = Backbone(tiny_backbone)
    conditioner, unet = load_trained(tmp_path / "trained", fresh)
    assert {name for name, _ in unet.named_parameters()} == {n for n, _ in make()[1].unet.named_parameters()}
    assert weights_hash(Backbone(tiny_backbone).unet) == before
    [(batch, _)] = trainer.load(0)
    batch = batch.to(torch.device("cpu"))
    with torch.no_grad():
        merged = type(trainer.denoiser)(conditioner, unet)(batch.noise, batch.timesteps, batch.embeddings)
    torch.testing.assert_close(merged, prediction(trainer), rtol=1e-4, atol=1e-5)
    assert not torch.equal(merged, prediction(make("attend_to_image")[0]))


def test_diffusers_loads_the_adapters_into_stable_diffusion(make, tmp_path, tiny_backbone):
    trainer, backbone = make("attend_to_image", previous_latent=False, lora_rank=2, steps=2)
    trainer.run(tmp_path / "work")
    adapters.save(backbone.unet, tmp_path / "lora")
    pipeline = StableDiffusionPipeline.from_pretrained(tiny_backbone, safety_checker=None, feature_extractor=None)
    pipeline.load_lora_weights(tmp_path / "lora")
    assert pipeline.get_active_adapters()
    [(batch, _)] = trainer.load(0)
    batch = batch.to(torch.device("cpu"))
    with torch.no_grad():
        tokens = trainer.denoiser.conditioner(batch.embeddings).tokens
        theirs = pipeline.unet(batch.noise, batch.timesteps, encoder_hidden_states=tokens).sample
    torch.testing.assert_close(theirs, prediction(trainer), rtol=1e-4, atol=1e-5)


def test_an_interrupted_training_of_adapters_goes_on(make, tmp_path):
    undisturbed = make("attend_to_image", lora_rank=2)[0].run(tmp_path / "undisturbed")
    interrupt_after(3, begun := make("attend_to_image", lora_rank=2)[0])
    with pytest.raises(KeyboardInterrupt):
        begun.run(tmp_path / "work")
    history = make("attend_to_image", lora_rank=2)[0].run(tmp_path / "work")
    assert history["loss"].tolist() == undisturbed["loss"].tolist()

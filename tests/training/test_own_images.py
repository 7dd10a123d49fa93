"""Training on previous images that the model drew: which samples get them, what they are, that a kill is harmless."""

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from recipevis import images
from recipevis.config import CycleConfig
from recipevis.embeddings import writer
from recipevis.embeddings.reader import Embeddings
from recipevis.model.networks import Backbone
from recipevis.randomness import generator
from recipevis.sampling.pipeline import assemble
from recipevis.training.trainer import new_conditioner, new_trainer
from tests.training.test_trainer import interrupt_after, settings, weights_hash

NO_CYCLE = CycleConfig(weight=0, max_amplification=2.0, images=1)


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> pd.DataFrame:
    """Three recipes of three steps for training, one for validation."""
    folder, random, rows = tmp_path_factory.mktemp("frames"), np.random.default_rng(0), []
    for video, subset in (("a", "training"), ("b", "training"), ("c", "training"), ("d", "validation")):
        for step in range(3):
            path = folder / f"{video}_{step:02d}.png"
            Image.fromarray(random.integers(0, 256, (32, 32, 3), dtype=np.uint8)).save(path)
            previous = str(folder / f"{video}_{step - 1:02d}.png") if step else ""
            rows.append((subset, video, step, f"add {video} {step}", str(path), previous))
    return pd.DataFrame(rows, columns=["subset", "video_id", "step", "sentence", "image", "previous_image"])


@pytest.fixture(scope="module")
def cache(table, tiny_backbone, tmp_path_factory) -> Embeddings:
    folder = tmp_path_factory.mktemp("embeddings")
    paths = [*table["image"], *table["previous_image"]]
    writer.embed(table["sentence"], paths, Backbone(tiny_backbone), images.blank(32, "white"), 8, folder)
    return Embeddings(folder)


@pytest.fixture
def make(table, cache, tiny_backbone):
    """A function: a fresh trainer and its backbone, with the previous latent."""

    def fresh(**changes):
        backbone = Backbone(tiny_backbone)
        conditioner = new_conditioner(backbone, "attend_to_image", {"hidden": 4}, 3, 0, previous_latent=True)
        nothing_dropped = {"dropout_text": 0.0, "dropout_image": 0.0, "dropout_both": 0.0}
        train = settings(**{"own_previous": 0.5, "validate_every": 2, "batch_size": 4} | nothing_dropped | changes)
        return new_trainer(backbone, conditioner, table, cache, train, NO_CYCLE, 32, 0), backbone

    return fresh


def test_nothing_is_drawn_and_nothing_changes_where_it_is_off(make, tmp_path):
    trainer, _ = make(own_previous=0.0)
    trainer.run(tmp_path / "work")
    assert trainer.batches["training"].pools.kept == []
    draws = trainer.batches["training"].training(3, 4, settings(own_previous=0.0))
    assert (draws.own == -1).all()


def test_the_true_previous_images_are_shown_until_some_are_drawn(make, tmp_path):
    """Also in the step after the drawing, whose batch may be read already."""
    trainer, _ = make(own_previous=1.0, steps=4)
    batches = trainer.batches["training"]
    trainer.run(tmp_path / "work")
    [pool] = batches.pools.kept  # after the last step none are drawn
    assert pool.since == 3
    shares = [(batches.training(step, 4, settings(own_previous=1.0)).own >= 0).mean() for step in range(5)]
    assert shares == [0, 0, 0, 1, 1]
    many = [(batches.training(step, 4, settings(own_previous=0.5)).own >= 0).mean() for step in range(3, 103)]
    assert np.mean(many) == pytest.approx(0.5, abs=0.1)


def test_a_sample_is_given_the_drawn_image_and_only_the_previous_one(make, tmp_path, cache, table):
    trainer, _ = make(own_previous=1.0, steps=4)
    trainer.run(tmp_path / "work")
    batches, training = trainer.batches["training"], table[table.subset == "training"].reset_index(drop=True)
    pool = batches.pools.at(3)
    draws = batches.training(3, 4, settings(own_previous=1.0, dropout_text=0.0, dropout_image=0.0, dropout_both=0.0))
    batch = batches.load(draws)
    assert torch.equal(batch.embeddings.image, pool.image[draws.own])
    assert torch.equal(batch.embeddings.image_pooled, pool.image_pooled[draws.own])
    assert (training.previous_image.iloc[draws.rows] != "").all()  # a first step's is blank in a rollout, too
    sentences = training.sentence.iloc[draws.rows].map(cache.sentence_rows)
    assert torch.equal(batch.embeddings.text, torch.from_numpy(cache.text_tokens[sentences.to_numpy()]))


def test_the_drawn_first_image_is_the_first_latent_too(make, tmp_path):
    """As in a rollout: before a second step, previous and first image are one drawn image; later, the true first."""
    trainer, _ = make(own_previous=1.0, steps=4)
    trainer.run(tmp_path / "work")
    batches = trainer.batches["training"]
    pool = batches.pools.at(3)
    embeddings = batches.embeddings_of(rows := pool.rows.numpy(), 3)
    true = batches.embeddings_of(rows, 0)  # nothing is drawn yet
    second = torch.from_numpy(batches._previous[rows] == batches._first[rows])
    assert second.any()
    assert not second.all()
    assert torch.equal(embeddings.first_latent[second], embeddings.latent[second])
    assert torch.equal(embeddings.first_latent[~second], true.first_latent[~second])
    assert not torch.equal(embeddings.latent, true.latent)


def test_a_drawn_image_is_the_one_that_the_pipeline_draws(make, table, cache):
    """The triplet before, from the same noise: another program, up to the cache's half precision."""
    trainer, backbone = make()
    batches = trainer.batches["training"]
    training = table[table.subset == "training"].reset_index(drop=True)
    with torch.no_grad():
        backbone.unet.conv_in.weight[:, 4:] += 0.05
    pool = trainer._drawing.draw(trainer.denoiser, batches, 7)
    pipeline = assemble(backbone, trainer.denoiser.conditioner, backbone.unet, 32, "white")
    pipeline.set_progress_bar_config(disable=True)
    for position, row in enumerate(pool.rows.tolist()):
        before = training.index[training.image == training.previous_image[row]][0]
        shown = training.previous_image[before]
        drawn = pipeline(
            training.sentence[before],
            Image.open(shown) if shown else None,
            generator(0, "own images", 7, int(before)),
            num_inference_steps=2,
            guidance_scale=1.0,
        ).images[0]
        mean = backbone.vae.encode(images.to_vae([np.asarray(drawn)])).latent_dist.mean
        torch.testing.assert_close(pool.latent_mean[position].float(), mean[0].detach(), rtol=2e-2, atol=2e-2)


def test_a_drawn_previous_image_is_drawn_from_a_drawn_one(make, tmp_path):
    """So errors add up over refreshes, as they do in a rollout."""
    trainer, _ = make(own_previous=1.0, own_previous_images=9, steps=6)
    trainer.run(tmp_path / "work")
    batches = trainer.batches["training"]
    latest = batches.pools.kept[-1]
    row = latest.rows[:1].numpy()
    assert torch.equal(batches.embeddings_of(row, latest.since).image[0], latest.image[0])


@pytest.mark.parametrize("killed_in", [2, 3, 5])
def test_a_run_stopped_after_a_drawing_ends_with_the_same_bits(make, tmp_path, killed_in):
    undisturbed, _ = make(checkpoint_every=1)
    history = undisturbed.run(tmp_path / "undisturbed")
    interrupt_after(killed_in, begun := make(checkpoint_every=1)[0])
    with pytest.raises(KeyboardInterrupt):
        begun.run(tmp_path / "work")
    resumed, _ = make(checkpoint_every=1)
    pd.testing.assert_frame_equal(resumed.run(tmp_path / "work"), history, check_exact=True)
    assert weights_hash(resumed.denoiser) == weights_hash(undisturbed.denoiser)
    assert history["loss"].tolist() != make(own_previous=0.0)[0].run(tmp_path / "off")["loss"].tolist()

"""Training: its loss by a second computation, its batches by their definition, resuming to the bit."""

import hashlib
import math
import os
import signal
from functools import partialmethod
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from accelerate.state import AcceleratorState
from PIL import Image
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from benchmarks import random_embeddings
from recipevis import images
from recipevis.config import CycleConfig, TrainConfig
from recipevis.core import checkpoints, processes
from recipevis.core.training_log import TrainingLog
from recipevis.embeddings import writer
from recipevis.embeddings.reader import Embeddings
from recipevis.errors import InputError, ParameterError
from recipevis.fusers.base import Shapes, select_options
from recipevis.model.denoiser import Denoiser
from recipevis.model.latents import LatentScaling
from recipevis.model.networks import Backbone
from recipevis.model.schedule import load_scheduler
from recipevis.training import trainer as trainer_module
from recipevis.training.batches import Batches, by_subset, dropped
from recipevis.training.cycle_loss import make_cycle_loss
from recipevis.training.losses import Losses, losses
from recipevis.training.trainer import HISTORY, Trainer, new_conditioner, new_trainer, prepare_unet

SETTINGS = {
    "steps": 6,
    "batch_size": 2,
    "learning_rate": 1e-3,
    "fuser_learning_rate": 2e-3,
    "weight_decay": 0.01,
    "warmup_steps": 0,
    "gradient_clip": 1.0,
    "dropout_text": 0.1,
    "dropout_image": 0.1,
    "dropout_both": 0.1,
    "own_previous": 0.0,
    "own_previous_images": 3,
    "own_previous_steps": 2,
    "min_snr_gamma": None,
    "lora_rank": None,
    "precision": "fp32",
    "ema": None,
    "processes": 1,
    "accumulation": 1,
    "gradient_checkpointing": False,
    "fused": False,
    "compile": False,
    "validate_every": 3,
    "validation_images": 3,
    "checkpoint_every": 2,
    "log_with": None,
}
CYCLE = CycleConfig(weight=0.5, max_amplification=2.0, images=1)
OFTEN = CycleConfig(weight=0.5, max_amplification=None, images=2)  # some image in almost every batch


def scaled_by(factor: float, **statistics) -> LatentScaling:
    """The scaling of a VAE with four channels."""
    return LatentScaling({"latent_channels": 4, "scaling_factor": factor} | statistics)


def settings(**changes) -> TrainConfig:
    return TrainConfig.model_validate(SETTINGS | changes)


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> pd.DataFrame:
    folder, random, rows = tmp_path_factory.mktemp("frames"), np.random.default_rng(0), []
    for video, subset in (("a", "training"), ("b", "training"), ("c", "validation"), ("d", "validation")):
        for step in range(3):
            path = folder / f"{video}_{step:02d}.png"
            colours = random.integers(0, 256, (4, 4, 3), dtype=np.uint8)
            Image.fromarray(colours).resize((32, 32), Image.Resampling.BICUBIC).save(path)
            previous = str(folder / f"{video}_{step - 1:02d}.png") if step else ""
            rows.append((subset, f"add {video} {step}", str(path), previous))
    return pd.DataFrame(rows, columns=["subset", "sentence", "image", "previous_image"])


@pytest.fixture(scope="module")
def cache(table, tiny_backbone, tmp_path_factory) -> Embeddings:
    folder = tmp_path_factory.mktemp("embeddings")
    paths = [*table["image"], *table["previous_image"]]
    blank = images.blank(32, "white")
    writer.embed(table["sentence"], paths, Backbone(tiny_backbone), blank, 8, folder)
    return Embeddings(folder)


@pytest.fixture
def make(table, cache, tiny_backbone):
    """A function: a fresh trainer."""

    def fresh(
        train: TrainConfig, cycle: CycleConfig = CYCLE, fuser: str = "attend_to_image", seed: int = 0, **conditioning
    ):
        backbone = Backbone(tiny_backbone)
        options = select_options(fuser, {"hidden": 4}, {})
        conditioner = new_conditioner(backbone, fuser, options, 3, seed, **conditioning)
        prepare_unet(backbone, conditioner, train.lora_rank, seed)
        network = Denoiser(conditioner, backbone.unet)
        batches = by_subset(cache, table, LatentScaling(backbone.vae.config), 1000, seed)
        scheduler = load_scheduler(backbone.folder / "scheduler")
        loss = make_cycle_loss(backbone, scheduler, 32, cycle.max_amplification) if cycle.weight else None
        AcceleratorState._reset_state()  # one process is given several precisions here
        return Trainer(network, scheduler, batches, train, torch.device("cpu"), loss, cycle), network

    return fresh


def weights_hash(network: torch.nn.Module) -> str:
    digest = hashlib.sha256()
    for weight in network.state_dict().values():
        digest.update(weight.detach().numpy().tobytes())
    return digest.hexdigest()


def test_an_epoch_is_each_triplet_once_and_the_next_in_another_order(cache, table):
    batches = Batches(cache, table[table["subset"] == "training"], scaled_by(1.0), 1000, seed=3)
    order = [batches._shuffled(i) for i in range(2 * len(batches))]
    first, second = order[:6], order[6:]
    assert sorted(first) == sorted(second) == list(range(6))
    assert first != second


def test_a_batch_is_a_function_of_seed_and_step(cache, table):
    rows = table[table["subset"] == "training"]
    one, other = Batches(cache, rows, scaled_by(1.0), 1000, seed=0), Batches(cache, rows, scaled_by(1.0), 1000, seed=0)
    for step in (0, 1, 2):
        draws = one.training(step, 2, settings())
    alone = other.training(2, 2, settings())  # without those before it
    for field in ("timesteps", "priorities", "text_dropped", "image_dropped"):
        assert torch.equal(getattr(draws, field), getattr(alone, field)), field
    batch, again = one.load(draws), other.load(alone)
    for field in ("latents", "noise", "timesteps", "text_projected"):
        assert torch.equal(getattr(batch, field), getattr(again, field)), field
    assert torch.equal(batch.embeddings.image, again.embeddings.image)
    another = Batches(cache, rows, scaled_by(1.0), 1000, seed=1)
    assert not torch.equal(batch.noise, another.load(another.training(2, 2, settings())).noise)


def test_a_sample_does_not_depend_on_the_batch_around_it(cache, table):
    """Position p of step s is the same in a batch of any size, and parts of a batch equal the whole."""
    batches = Batches(cache, table[table["subset"] == "training"], scaled_by(1.0), 1000, seed=0)
    small, large = (batches.load(batches.training(0, size, settings())) for size in (2, 6))
    part = batches.load(batches.training(0, 6, settings()), slice(2, 5))
    assert torch.equal(small.noise, large.noise[:2])
    assert torch.equal(small.latents, large.latents[:2])
    assert torch.equal(part.latents, large.latents[2:5])
    assert torch.equal(part.embeddings.text, large.embeddings.text[2:5])


def test_dropped_conditions_are_the_null_ones(cache, table):
    """As the pipeline makes them from the networks: the empty sentence, an image of zeros."""
    batches = Batches(cache, table[table["subset"] == "training"], scaled_by(1.0), 1000, seed=0)
    some = settings(dropout_text=0.3, dropout_image=0.3, dropout_both=0.3)
    whole = batches.load(batches.training(0, 24, settings(dropout_text=0.0, dropout_image=0.0, dropout_both=0.0)))
    draws = batches.training(0, 24, some)
    loaded = batches.load(draws).embeddings
    null = torch.from_numpy(np.array(cache.text_tokens[0])), torch.from_numpy(np.array(cache.text_pooled[0]))
    expected = whole.embeddings.with_null(draws.text_dropped, draws.image_dropped, *null)
    assert 0 < draws.text_dropped.sum() < 24
    assert 0 < draws.image_dropped.sum() < 24
    for field in ("text", "text_pooled", "image", "image_pooled"):
        assert torch.equal(getattr(loaded, field), getattr(expected, field)), field


def test_what_a_batch_holds(cache, table):
    rows = table[table["subset"] == "validation"]
    batches = Batches(cache, rows, scaled_by(0.5), 1000, seed=0)
    draws = batches.validation(0, 6)
    batch = batches.load(draws)
    assert batch.to(torch.device("cpu")).embeddings.image.dtype == torch.float32
    for i, (sentence, image, previous) in enumerate(
        zip(*(rows[c] for c in ("sentence", "image", "previous_image")), strict=True)
    ):
        text = cache.text_tokens[cache.sentence_rows[sentence]].astype(np.float32)
        assert np.array_equal(batch.embeddings.text[i].numpy(), text)
        seen = cache.image_tokens[cache.image_rows[previous]].astype(np.float32)
        assert np.array_equal(batch.embeddings.image[i].numpy(), seen)
        mean = cache.latent_mean[cache.image_rows[image]].astype(np.float32)
        deviation = np.exp(cache.latent_logvar[cache.image_rows[image]].astype(np.float32) / 2)
        distance = np.abs(batch.latents[i].numpy() / 0.5 - mean) / deviation
        assert distance.max() < 6  # standard deviations
    assert not draws.text_dropped.any()
    another = Batches(cache, rows, scaled_by(0.5), 1000, seed=9)
    assert torch.equal(batch.noise, another.load(another.validation(0, 6)).noise)


def test_latents_are_standardised_channel_by_channel(cache, table):
    """By hand, as diffusers' SDXL pipelines encode an image: (z - mean) * factor / std."""
    rows = table[table["subset"] == "validation"]
    statistics = {"latents_mean": [1.0, 2.0, 3.0, 4.0], "latents_std": [2.0, 4.0, 8.0, 16.0]}
    plain, standardised = (Batches(cache, rows, scaled_by(0.5, **more), 1000, seed=0) for more in ({}, statistics))
    latents, got = (batches.load(batches.validation(0, 2)).latents for batches in (plain, standardised))
    for channel in range(4):
        mean, std = (statistics[key][channel] for key in ("latents_mean", "latents_std"))
        wanted = (latents[:, channel].double() / 0.5 - mean) * 0.5 / std
        torch.testing.assert_close(got[:, channel].double(), wanted, atol=1e-6, rtol=1e-5)


def test_latents_are_sampled_with_the_cached_mean_and_deviation(cache, table):
    rows = pd.concat([table[table["subset"] == "training"].head(1)] * 1500)
    batches = Batches(cache, rows, scaled_by(2.0), 1000, seed=0)
    sampled = batches.load(batches.validation(0, 1500)).latents / 2.0
    row = cache.image_rows[rows["image"].iloc[0]]
    deviation = np.exp(cache.latent_logvar[row].astype(np.float32) / 2)
    error = (sampled.mean(0).numpy() - cache.latent_mean[row]) / (deviation / math.sqrt(1500))
    assert np.abs(error).max() < 4.5
    np.testing.assert_allclose(sampled.std(0).numpy(), deviation, rtol=0.1)


def test_shares_of_dropped_conditions_are_the_asked_ones():
    draws = (torch.arange(1000) + 0.5) / 1000
    text, image = dropped(draws, text=0.05, image=0.1, both=0.2)
    assert (text & ~image).sum() == 50
    assert (image & ~text).sum() == 100
    assert (image & text).sum() == 200


def test_an_empty_subset_is_told(cache, table):
    with pytest.raises(InputError, match="no validation triplet"):
        by_subset(cache, table[table["subset"] == "training"], scaled_by(1.0), 1000, seed=0)


def test_the_first_loss_and_rate_by_hand(make, cache, table, tiny_backbone, tmp_path):
    nothing_dropped = settings(dropout_text=0.0, dropout_image=0.0, dropout_both=0.0)
    trainer, _ = make(nothing_dropped, CYCLE.model_copy(update={"weight": 0.0}))
    backbone = Backbone(tiny_backbone)
    conditioner = new_conditioner(backbone, "attend_to_image", {"hidden": 4}, 3, 0)
    rows = table[table["subset"] == "training"]
    batches = Batches(cache, rows, LatentScaling(backbone.vae.config), 1000, 0)
    batch = batches.load(batches.training(0, 2, nothing_dropped)).to(torch.device("cpu"))
    alpha = load_scheduler(tiny_backbone / "scheduler").alphas_cumprod[batch.timesteps].view(-1, 1, 1, 1)
    noisy = alpha.sqrt() * batch.latents + (1 - alpha).sqrt() * batch.noise
    condition = conditioner(batch.embeddings).tokens
    prediction = backbone.unet(noisy.float(), batch.timesteps, encoder_hidden_states=condition).sample
    history = trainer.run(tmp_path)
    assert history["denoising"][0] == pytest.approx(((prediction - batch.noise) ** 2).mean().item(), rel=1e-5)
    expected = [1e-3 * (1 + math.cos(math.pi * step / 6)) / 2 for step in range(6)]
    assert history["learning_rate"].tolist() == pytest.approx(expected)
    assert history["validation_loss"].notna().tolist() == [False, False, True, False, False, True]
    assert (history["cycle"] == 0).all()


def test_pieces_add_up_and_two_rates_are_used(make, tmp_path):
    trainer, denoiser = make(settings())
    frozen = {name: weights_hash(getattr(trainer.cycle, name)) for name in ("vae", "clip")}
    before = weights_hash(denoiser.unet), weights_hash(denoiser.conditioner)
    history = trainer.run(tmp_path)
    assert history["cycle"].max() > 0
    np.testing.assert_allclose(history["loss"], history["denoising"] + 0.5 * history["cycle"], rtol=1e-5)
    assert [group["initial_lr"] for group in trainer.optimizer.param_groups] == [1e-3, 2e-3]
    assert {name: weights_hash(getattr(trainer.cycle, name)) for name in ("vae", "clip")} == frozen
    after = weights_hash(denoiser.unet), weights_hash(denoiser.conditioner)
    assert all(a != b for a, b in zip(after, before, strict=True))


@pytest.mark.parametrize(
    ("killed_in", "more", "conditioning"),
    [
        *((step, {}, {}) for step in range(1, 7)),
        (5, {"ema": 0.5}, {}),
        (4, {"min_snr_gamma": 5.0}, {"previous_latent": True, "condition": "append"}),
        (5, {"ema": 0.5, "lora_rank": 2}, {"previous_latent": True}),
    ],
)
def test_a_run_stopped_in_any_step_ends_with_the_same_bits(make, tmp_path, killed_in, more, conditioning):
    trainer, denoiser = make(settings(**more), **conditioning)
    undisturbed = trainer.run(tmp_path / "undisturbed")
    interrupted, _ = make(settings(**more), **conditioning)
    step, begun = interrupted.step, []

    def stop(parts):
        begun.append(1)
        if len(begun) == killed_in:
            raise KeyboardInterrupt
        return step(parts)

    interrupted.step = stop
    with pytest.raises(KeyboardInterrupt):
        interrupted.run(tmp_path / "work")
    resumed, again = make(settings(**more), **conditioning)
    pd.testing.assert_frame_equal(resumed.run(tmp_path / "work"), undisturbed, check_exact=True)
    assert weights_hash(again) == weights_hash(denoiser)
    assert len(list((tmp_path / "work").glob("checkpoint-*"))) == 1


@pytest.mark.parametrize(
    "how",
    [
        {"accumulation": 2},
        {"accumulation": 4},
        {"gradient_checkpointing": True},
        {"fused": True},
        # Everything but the C++ compiler, which takes minutes.
        pytest.param({"compile": True, "backend": "aot_eager"}, marks=pytest.mark.slow),
        pytest.param({"compile": True, "backend": "inductor"}, marks=pytest.mark.soak),
    ],
    ids=str,
)
def test_how_a_batch_is_worked_through_changes_rounding_alone(make, tmp_path, monkeypatch, how):
    """L_cyc included, whose images are chosen over the whole batch; two of them here."""
    cycle = CYCLE.model_copy(update={"images": 2})
    if "backend" in how:
        compiled = partialmethod(torch.nn.Module.compile, backend=how["backend"])
        monkeypatch.setattr(torch.nn.Module, "compile", compiled)
        how = {"compile": True}
    plain, _ = make(settings(batch_size=4), cycle)
    other, _ = make(settings(batch_size=4, **how), cycle)
    expected, history = plain.run(tmp_path / "plain"), other.run(tmp_path / "other")
    assert (expected["cycle"] > 0).sum() > 3
    columns = ["denoising", "validation_loss"]
    np.testing.assert_allclose(history[columns].astype(float), expected[columns].astype(float), atol=1e-5)
    # L_cyc rounds pixels to 256 levels, and a pixel may be rounded to the next one
    np.testing.assert_allclose(history["cycle"], expected["cycle"], atol=1e-4)


@pytest.mark.parametrize(
    ("how", "on"),
    [
        ({"gradient_checkpointing": True}, lambda trainer: trainer.denoiser.unet.is_gradient_checkpointing),
        ({"fused": True}, lambda trainer: all(group["fused"] for group in trainer.optimizer.param_groups)),
        ({"compile": True}, lambda trainer: trainer.denoiser._compiled_call_impl is not None),
    ],
    ids=["gradient_checkpointing", "fused", "compile"],
)
def test_a_setting_takes_effect(make, how, on):
    assert on(make(settings(**how))[0])
    assert not on(make(settings())[0])


def test_three_steps_by_hand(make):
    """AdamW with its decay, two rates, warm-up and the limit of the gradients' norm."""
    train = settings(batch_size=4, weight_decay=0.3, warmup_steps=2, gradient_clip=0.05)
    trainer, network = make(train, OFTEN)
    _, copy = make(train, OFTEN)
    rates = ((copy.unet, 1e-3), (copy.conditioner, 2e-3))
    weights = [(weight, rate) for part, rate in rates for weight in part.parameters()]
    moments = [(torch.zeros_like(weight), torch.zeros_like(weight)) for weight, _ in weights]
    for step in range(3):
        [(batch, of_cycle)] = trainer.load(step)
        batch, scheduler = batch.to(torch.device("cpu")), trainer.cycle.scheduler
        pieces = losses(copy, batch, scheduler, trainer.cycle, of_cycle)
        copy.zero_grad()
        (pieces.denoising + 0.5 * pieces.cycle).backward()
        norm = torch.cat([weight.grad.flatten() for weight, _ in weights]).norm()
        assert norm > 0.05
        share = step / 2 if step < 2 else (1 + math.cos(math.pi * (step - 2) / (6 - 2))) / 2
        with torch.no_grad():
            for (weight, rate), (first, second) in zip(weights, moments, strict=True):
                gradient = weight.grad * 0.05 / (norm + 1e-6)
                first.mul_(0.9).add_(0.1 * gradient)
                second.mul_(0.999).add_(0.001 * gradient**2)
                weight.mul_(1 - rate * share * 0.3)
                mean, square = first / (1 - 0.9 ** (step + 1)), second / (1 - 0.999 ** (step + 1))
                weight.sub_(rate * share * mean / (square.sqrt() + 1e-8))
        terms, learning_rate = trainer.step([(trainer.load(step)[0][0], of_cycle)])
        torch.testing.assert_close(terms, torch.stack([pieces.denoising, pieces.cycle]).detach(), rtol=1e-3, atol=1e-6)
        assert learning_rate == pytest.approx(1e-3 * share)
    for (name, weight), other in zip(network.named_parameters(), copy.parameters(), strict=True):
        torch.testing.assert_close(weight, other, rtol=0, atol=1e-6, msg=lambda m, name=name: f"{name}: {m}")


def test_l_cyc_is_taken_on_so_many_images_of_the_whole_batch(make):
    cycle = CYCLE.model_copy(update={"max_amplification": None, "images": 3})
    nothing_dropped = settings(batch_size=6, accumulation=3, dropout_text=0.0, dropout_both=0.0)
    weights = torch.cat([weights for _, weights in make(nothing_dropped, cycle)[0].load(0)])
    assert (weights > 0).sum() == 3
    assert weights.sum() == pytest.approx(1)
    all_dropped = settings(batch_size=6, dropout_text=0.0, dropout_image=0.0, dropout_both=1.0)
    assert not make(all_dropped, cycle)[0].load(0)[0][1].any()


def test_where_a_gpu_works_the_next_batch_is_read_meanwhile(make):
    trainer, _ = make(settings())
    expected = [trainer.load(step) for step in range(3)]
    asked, load = [], trainer.load
    trainer.load = lambda step: asked.append(step) or load(step)
    trainer._accelerator = SimpleNamespace(device=torch.device("mps"), process_index=0)
    read = trainer.loaded(0, 3)
    for step in range(3):
        [(batch, weights)], [(wanted, expected_weights)] = next(read), expected[step]
        assert torch.equal(batch.noise, wanted.noise)
        assert torch.equal(weights, expected_weights)
    assert next(read, None) is None
    assert asked == [0, 1, 2]


def gradients(trainer: Trainer) -> list[torch.Tensor]:
    """What AdamW is given in the first step."""
    seen = []
    trainer.optimizer.optimizer.register_step_pre_hook(
        lambda optimizer, *_: seen.extend(w.grad.clone() for group in optimizer.param_groups for w in group["params"])
    )
    trainer.step(trainer.load(0))
    return seen


def test_gradients_are_those_of_the_whole_batch_in_whatever_parts(make, tiny_backbone):
    """Their size, too: AdamW would take the same step with gradients that are all twice as large."""
    train = settings(batch_size=4, gradient_clip=None)
    trainer, network = make(train, OFTEN)
    [(batch, weights)] = trainer.load(0)
    scheduler = load_scheduler(tiny_backbone / "scheduler")
    pieces = losses(network, batch.to(torch.device("cpu")), scheduler, trainer.cycle, weights)
    assert pieces.cycle > 0
    (pieces.denoising + 0.5 * pieces.cycle).backward()
    expected = [w.grad for part in (network.unet, network.conditioner) for w in part.parameters()]
    for accumulation in (1, 2, 4):
        trainer, _ = make(train.model_copy(update={"accumulation": accumulation}), OFTEN)
        torch.testing.assert_close(gradients(trainer), expected, rtol=1e-3, atol=1e-7)


ON_TWO = """
from safetensors.torch import save_file

from recipevis.core import processes
from tests.training.test_trainer import gradients, numbered, on_random_embeddings

folder = processes.given_folder()
seen = gradients(on_random_embeddings(folder))
trainer = on_random_embeddings(folder)
trainer.run(folder / "work")
if trainer.writes:
    save_file(numbered(seen), folder / "gradients.safetensors")
    save_file(numbered(trainer.denoiser.parameters()), folder / "weights.safetensors")
"""


def numbered(tensors) -> dict[str, torch.Tensor]:
    return {f"{number:04d}": tensor.detach().clone() for number, tensor in enumerate(tensors)}


def on_random_embeddings(folder: Path, train: TrainConfig | None = None) -> Trainer:
    """A trainer whose files lie in a folder, so that another process can make the same."""
    train = train or TrainConfig.model_validate_json((folder / "train.json").read_text())
    backbone, triplets = Backbone(folder / "backbone"), random_embeddings.triplets()
    if not (folder / "cache").exists():
        random_embeddings.write(backbone, 3, 32, folder / "cache")
    conditioner = new_conditioner(backbone, "attend_to_image", {"hidden": 4}, 3, 0, "append", previous_latent=True)
    cache = Embeddings(folder / "cache")
    AcceleratorState._reset_state()
    return new_trainer(backbone, conditioner, triplets, cache, train, OFTEN, 32, 0)


@pytest.mark.slow
def test_two_processes_go_on_with_one_processs_run(tiny_backbone, tmp_path, monkeypatch, root):
    """Gradients in their size, L_cyc's included; the moving average; and half of the run by another number.

    With the previous latent and appended tokens, which take every way that the others take, too.
    """
    train = settings(batch_size=4, gradient_clip=None, ema=0.5, checkpoint_every=3)
    (tmp_path / "backbone").symlink_to(tiny_backbone)
    tracked = {"processes": 2, "log_with": "tensorboard"}
    (tmp_path / "train.json").write_text(train.model_copy(update=tracked).model_dump_json())
    expected, undisturbed = gradients(on_random_embeddings(tmp_path, train)), on_random_embeddings(tmp_path, train)
    undisturbed.run(tmp_path / "undisturbed")
    interrupt_after(3, begun := on_random_embeddings(tmp_path, train))
    with pytest.raises(KeyboardInterrupt):
        begun.run(tmp_path / "work")
    (tmp_path / "on_two.py").write_text(ON_TWO)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(root)]))
    monkeypatch.chdir(tmp_path)
    assert processes.launch("on_two", 2, tmp_path)
    torch.testing.assert_close(load_file(tmp_path / "gradients.safetensors"), numbered(expected), rtol=1e-3, atol=1e-6)
    left = numbered(undisturbed.denoiser.parameters())
    torch.testing.assert_close(load_file(tmp_path / "weights.safetensors"), left, rtol=0, atol=1e-4)
    shown = EventAccumulator(str(tmp_path / "logs/tensorboard/run")).Reload().Scalars("loss")
    assert [event.step for event in shown] == [3, 4, 5]  # the tracker was off before


def test_a_run_may_go_on_in_other_parts(make, tmp_path):
    undisturbed = make(settings(batch_size=4))[0].run(tmp_path / "undisturbed")
    interrupt_after(3, begun := make(settings(batch_size=4))[0])
    with pytest.raises(KeyboardInterrupt):
        begun.run(tmp_path / "work")
    history = make(settings(batch_size=4, accumulation=2))[0].run(tmp_path / "work")
    np.testing.assert_allclose(history["loss"], undisturbed["loss"], atol=1e-5)


def test_a_run_may_go_on_with_the_other_loop_of_adamw(make, tmp_path):
    undisturbed = make(settings())[0].run(tmp_path / "undisturbed")
    interrupt_after(3, begun := make(settings(fused=True))[0])
    with pytest.raises(KeyboardInterrupt):
        begun.run(tmp_path / "work")
    resumed = make(settings(fused=False))[0]
    np.testing.assert_allclose(resumed.run(tmp_path / "work")["loss"], undisturbed["loss"], atol=1e-5)
    assert not any(group["fused"] for group in resumed.optimizer.param_groups)


def interrupt_after(step: int, trainer: Trainer) -> None:
    """Ctrl-C while so many steps are done and the next is not."""
    take, taken = trainer.step, []

    def interrupting(parts):
        terms = take(parts)
        taken.append(terms)
        if len(taken) == step:
            signal.raise_signal(signal.SIGINT)
        return terms

    trainer.step = interrupting


def test_ctrl_c_saves_first_and_the_next_run_says_from_where_it_goes_on(make, tmp_path, capfd):
    undisturbed_trainer, undisturbed = make(settings(checkpoint_every=100))
    undisturbed_trainer.run(tmp_path / "undisturbed")
    handler = signal.getsignal(signal.SIGINT)
    interrupt_after(3, begun := make(settings(checkpoint_every=100))[0])
    with pytest.raises(KeyboardInterrupt):
        begun.run(tmp_path / "work")
    assert [path.name for path in (tmp_path / "work").iterdir()] == ["checkpoint-000000003"]
    assert signal.getsignal(signal.SIGINT) is handler
    assert "step 3\n" in capfd.readouterr().out
    resumed, again = make(settings(checkpoint_every=100))
    resumed.run(tmp_path / "work")
    assert "step 3\n" in capfd.readouterr().out
    assert weights_hash(again) == weights_hash(undisturbed)


@pytest.mark.parametrize("killed_in", [1, 4, 6])
def test_the_log_has_every_step_once(make, tmp_path, killed_in):
    """It grows with the run. Here Ctrl-C comes as a kill does, without a checkpoint, in the given step."""
    path, work = tmp_path / "logs/train.csv", tmp_path / "work"
    often = settings(validate_every=1, checkpoint_every=2)
    interrupted, _ = make(often)
    step, seen = interrupted.step, []

    def stop(parts):
        seen.append(len(path.read_text().splitlines()) - 1)
        if len(seen) == killed_in:
            raise KeyboardInterrupt
        return step(parts)

    interrupted.step = stop
    with pytest.raises(KeyboardInterrupt):
        interrupted.run(work, TrainingLog(path, HISTORY))
    assert seen == list(range(killed_in))
    resumed, _ = make(often)
    history = resumed.run(work, TrainingLog(path, HISTORY))
    assert path.read_text() == history.to_csv(index=False, lineterminator="\n")
    assert history["step"].tolist() == list(range(6))


def test_a_log_of_another_run_is_replaced(make, tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("of another run\n")
    with TrainingLog(path, HISTORY).following(SimpleNamespace(is_main_process=True, log_with=[], trackers=[]), []):
        assert path.read_text() == ",".join(HISTORY) + "\n"


def test_only_the_first_process_writes_the_log(tmp_path):
    log = TrainingLog(tmp_path / "train.csv", HISTORY)
    with log.following(SimpleNamespace(is_main_process=False, log_with=[], trackers=[]), []):
        log.add([dict.fromkeys(HISTORY, 1.0)])
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_that_lacks_a_trained_weight_is_refused(make, tmp_path):
    """As after a layer was renamed: the run would go on with a layer that has random weights."""
    interrupt_after(3, begun := make(settings())[0])
    with pytest.raises(KeyboardInterrupt):
        begun.run(tmp_path / "work")
    [saved] = (tmp_path / "work").glob("*/model.safetensors")
    weights = load_file(saved)
    name = next(name for name in weights if name.startswith("conditioner."))
    save_file({key if key != name else "renamed": weight for key, weight in weights.items()}, saved)
    with pytest.raises(InputError, match=name):
        make(settings())[0].run(tmp_path / "work")


def test_a_second_ctrl_c_does_not_wait():
    with checkpoints.interrupted(True) as event:
        signal.raise_signal(signal.SIGINT)
        assert event.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    with checkpoints.interrupted(False), pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


def test_a_batch_that_cannot_be_shared_is_refused(make):
    shared = settings(batch_size=4).model_copy(update={"accumulation": 3})  # past the check of the parameters
    with pytest.raises(ParameterError, match=r"train\.batch_size"):
        make(shared)


def test_the_average_is_what_is_validated_and_left(make, tmp_path):
    """Against a moving average by hand, whose decay grows from 0 as (1 + n) / (10 + n) up to what is asked for."""
    decay = 0.3
    trainer, denoiser = make(settings(ema=decay))
    step, averages = trainer.step, []

    def followed(parts):
        terms = step(parts)
        weights = torch.cat([weight.detach().flatten() for weight in denoiser.parameters()])
        number = len(averages)
        keep = min((1 + number) / (10 + number), decay) if number else 0
        averages.append(weights if not averages else keep * averages[-1] + (1 - keep) * weights)
        return terms

    trainer.step = followed
    history = trainer.run(tmp_path)
    left = torch.cat([weight.detach().flatten() for weight in denoiser.parameters()])
    torch.testing.assert_close(left, averages[-1])
    assert trainer.validation_loss() == pytest.approx(history["validation_loss"].iloc[-1])
    plain = make(settings())[0].run(tmp_path / "plain")
    assert history["loss"].tolist() == plain["loss"].tolist()
    assert history["validation_loss"].iloc[-1] != plain["validation_loss"].iloc[-1]


def test_baseline_trains_the_unet_alone(make, tmp_path):
    trainer, denoiser = make(settings(), fuser="baseline")
    history = trainer.run(tmp_path)
    summary = trainer.summary(history)
    assert summary["fuser_parameters"] == 0
    assert summary["unet_parameters"] == sum(weight.numel() for weight in denoiser.unet.parameters())
    assert summary["loss"] == pytest.approx(history["loss"].mean())
    assert summary["steps"] == 6


def test_no_steps_leave_the_backbone_untouched(make, tmp_path, tiny_backbone):
    trainer, denoiser = make(settings(steps=0))
    history = trainer.run(tmp_path)
    assert history.empty
    assert weights_hash(denoiser.unet) == weights_hash(Backbone(tiny_backbone).unet)
    assert trainer.summary(history)["loss"] is None


def test_validation_loss_is_the_mean_over_its_images_whatever_the_batch(make):
    losses = [make(settings(batch_size=size))[0].validation_loss() for size in (1, 2, 3)]
    assert losses[0] > 0
    assert losses == pytest.approx([losses[0]] * 3, rel=1e-5)


def test_bf16_keeps_single_precision_weights(make, tmp_path):
    trainer, denoiser = make(settings(precision="bf16", steps=2))
    history = trainer.run(tmp_path)
    full = make(settings(steps=2))[0].run(tmp_path / "full")
    assert {weight.dtype for weight in denoiser.parameters()} == {torch.float32}
    np.testing.assert_allclose(history["denoising"], full["denoising"], rtol=0.05)


def test_half_precision_on_a_cpu_is_refused(make):
    with pytest.raises(ParameterError, match="fp16"):
        make(settings(precision="fp16"))


def test_the_fusers_weights_are_a_function_of_the_seed(tiny_backbone):
    backbone = Backbone(tiny_backbone)
    made = [new_conditioner(backbone, "concat", {"hidden": 4}, 3, seed) for seed in (0, 0, 1)]
    first, same, other = map(weights_hash, made)
    assert first == same != other


def test_ctrl_c_while_validating_saves_too(make, tmp_path):
    trainer, _ = make(settings(checkpoint_every=100))
    validate = trainer.validation_loss
    trainer.validation_loss = lambda *bins: signal.raise_signal(signal.SIGINT) or validate(*bins)
    with pytest.raises(KeyboardInterrupt):
        trainer.run(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-000000004"]


def test_a_validation_loss_that_is_no_number_stops_the_run(make, tmp_path):
    trainer, _ = make(settings(learning_rate=1e30, validate_every=1, checkpoint_every=1))
    with pytest.raises(ParameterError, match="validation loss is nan at step 0"):
        trainer.run(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_no_number_stops_the_run(make, tmp_path, monkeypatch):
    trainer, _ = make(settings())
    real = losses
    nothing = torch.tensor(float("nan"))
    monkeypatch.setattr(trainer_module, "losses", lambda *a: Losses(real(*a).denoising * nothing, nothing * 0))
    with pytest.raises(ParameterError, match="loss is nan at step 0"):
        trainer.run(tmp_path)


def test_a_fuser_that_does_not_fit_the_backbone_is_told(tiny_backbone, monkeypatch):
    backbone = Backbone(tiny_backbone)
    monkeypatch.setattr(trainer_module, "fuser_shapes", lambda *_: Shapes(12, 12, 5, 24, 3, 16))
    with pytest.raises(InputError, match="12"):
        new_conditioner(backbone, "attend_to_image", {"hidden": 4}, 3, 0)

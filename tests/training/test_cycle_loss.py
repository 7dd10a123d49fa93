"""The cycle loss: its value by a loop, its gradient by finite differences, who takes part, what stays frozen."""

import hashlib
import json
import shutil

import pytest
import torch
from torch.nn import functional as F

from recipevis.errors import InputError
from recipevis.model.conditions import StepEmbeddings
from recipevis.model.denoiser import Denoiser
from recipevis.model.networks import Backbone
from recipevis.model.schedule import load_scheduler, predicted_original
from recipevis.model.shapes import fuser_shapes
from recipevis.training.cycle_loss import CycleLoss, make_cycle_loss, sample_weights
from recipevis.training.trainer import new_conditioner

PIXELS, SIDE = 32, 4


@pytest.fixture
def backbone(tiny_backbone) -> Backbone:
    return Backbone(tiny_backbone)


def cycle_loss(backbone: Backbone, limit: float | None = None) -> CycleLoss:
    return make_cycle_loss(backbone, load_scheduler(backbone.folder / "scheduler"), PIXELS, limit)


@pytest.fixture
def batch():
    random = torch.Generator().manual_seed(0)
    noisy, prediction = (torch.randn(4, 4, SIDE, SIDE, generator=random) for _ in range(2))
    text = F.normalize(torch.randn(4, 16, generator=random), dim=-1)
    return noisy, prediction, torch.tensor([5, 200, 400, 560]), text


@pytest.mark.parametrize("mean", [None, [1.0, 2.0, 3.0, 4.0]])
def test_value_by_a_loop_over_samples(backbone, batch, mean):
    backbone.vae.register_to_config(latents_mean=mean, latents_std=mean)
    noisy, prediction, timesteps, text = batch
    cycle = cycle_loss(backbone)
    weights = torch.tensor([0.25, 0.0, 0.5, 0.125])
    value = cycle(noisy, prediction, timesteps, text, weights).item()
    expected = 0.0
    for i in range(4):
        one = slice(i, i + 1)
        original = predicted_original(cycle.scheduler, noisy[one], prediction[one], timesteps[one])
        latents = original / backbone.vae.config.scaling_factor
        if mean:  # a value a channel, as diffusers' SDXL pipelines decode
            per_channel = torch.tensor(mean).view(1, 4, 1, 1)
            latents = latents * per_channel + per_channel
        picture = backbone.vae.decode(latents).sample[0]
        grey = ((picture / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()
        pixels = backbone.processor(grey, return_tensors="pt").pixel_values  # Pillow's path
        features = backbone.clip.get_image_features(pixel_values=pixels).pooler_output[0]
        expected += weights[i].item() * (1 - F.cosine_similarity(features, text[i], dim=0).item())
    assert value == pytest.approx(expected, abs=2e-4)


@pytest.mark.parametrize(
    "values",
    [{"resample": 2}, {"size": {"shortest_edge": 20}}, {"do_normalize": False}],
    ids=["bilinear", "cropped", "not normalised"],
)
def test_another_preprocessing_of_clip_is_refused(tiny_backbone, tmp_path, values):
    """L_cyc's own equals the usual one alone; with another it would pull the images elsewhere."""
    folder = shutil.copytree(tiny_backbone, tmp_path / "backbone")
    path = folder / "clip/preprocessor_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))
    with pytest.raises(InputError, match=r"cycle\.weight"):
        cycle_loss(Backbone(folder))


def test_gradient_reaches_unet_and_fuser_and_no_frozen_weight(backbone):
    random = torch.Generator().manual_seed(1)
    conditioner = new_conditioner(backbone, "attend_to_image", {"hidden": 4}, 3, seed=0)
    denoiser, cycle = Denoiser(conditioner, backbone.unet), cycle_loss(backbone)
    shapes = fuser_shapes(backbone.folder, backbone.folder / "clip", 3)
    embeddings = StepEmbeddings(
        *(
            torch.randn(2, *size, generator=random)
            for size in (
                (shapes.text_tokens, shapes.text_width),
                (shapes.text_width,),
                (shapes.image_tokens, shapes.image_width),
                (shapes.image_width,),
            )
        )
    )
    noisy, timesteps = torch.randn(2, 4, SIDE, SIDE, generator=random), torch.tensor([10, 100])
    text = F.normalize(torch.randn(2, 16, generator=random), dim=-1)
    before = frozen_hash(backbone)
    cycle(noisy, denoiser(noisy, timesteps, embeddings), timesteps, text, torch.full((2,), 0.5)).backward()
    for name, weight in denoiser.named_parameters():
        assert weight.grad is not None, name
        assert weight.grad.isfinite().all(), name
    assert any(weight.grad.abs().max() > 0 for weight in conditioner.parameters())
    assert any(weight.grad.abs().max() > 0 for weight in backbone.unet.parameters())
    assert all(weight.grad is None and not weight.requires_grad for weight in cycle.parameters())
    assert frozen_hash(backbone) == before


def frozen_hash(backbone: Backbone) -> str:
    digest = hashlib.sha256()
    for network in (backbone.vae, backbone.clip):
        for weight in network.state_dict().values():
            digest.update(weight.numpy().tobytes())
    return digest.hexdigest()


def test_the_decoders_activations_are_not_kept(backbone):
    cycle_loss(backbone)
    assert backbone.vae.is_gradient_checkpointing


def test_gradient_by_finite_differences(backbone, batch, monkeypatch):
    """In float64 and with rounding and clamping out of the way, whose gradients are straight-through by design."""
    cycle = cycle_loss(backbone).double()
    monkeypatch.setattr("recipevis.training.clip_preprocessing.round_straight_through", lambda values: values)
    monkeypatch.setattr("recipevis.training.clip_preprocessing.clamp_straight_through", lambda values: values)
    monkeypatch.setattr("recipevis.training.cycle_loss.clamp_straight_through", lambda values: values)
    monkeypatch.setattr(torch.Tensor, "float", lambda self: self)
    noisy, prediction, timesteps, text = (x.double() if x.is_floating_point() else x for x in batch)
    weights = torch.tensor([0.5, 0.0, 0.25, 0.0], dtype=torch.float64)
    leaf = prediction.requires_grad_()
    cycle(noisy, leaf, timesteps, text, weights).backward()
    assert not leaf.grad[1].any()
    step = 1e-5
    for index in [(0, 0, 0, 0), (0, 3, 2, 1), (2, 1, 3, 3)]:
        moved = []
        for sign in (1, -1):
            shifted = prediction.detach().clone()
            shifted[index] += sign * step
            moved.append(cycle(noisy, shifted, timesteps, text, weights).item())
        assert leaf.grad[index].item() == pytest.approx((moved[0] - moved[1]) / (2 * step), rel=1e-3, abs=1e-9)


def test_only_little_amplified_samples_with_their_sentence_are_eligible(backbone):
    timesteps, dropped = torch.tensor([10, 562, 563, 10]), torch.tensor([False, False, False, True])
    assert cycle_loss(backbone, 2).eligible(timesteps, dropped).tolist() == [True, True, False, False]
    assert cycle_loss(backbone, None).eligible(timesteps, dropped).tolist() == [True, True, True, False]


@pytest.mark.parametrize("images", [1, 2, 5, None])
def test_weights_keep_the_expected_loss(images):
    """Over all orders of priority, the mean weighted sum is the mean over the batch with zero for the ineligible."""
    from itertools import permutations

    eligible, values = torch.tensor([True, False, True, True]), torch.tensor([1.0, 10.0, 2.0, 4.0])
    sums = []
    for order in permutations(range(4)):
        weights = sample_weights(eligible, torch.tensor(order, dtype=torch.float), images)
        assert (weights > 0).sum() == min(3, images or 3)
        assert not weights[1]
        sums.append((weights * values).sum().item())
    assert sum(sums) / len(sums) == pytest.approx((1 + 2 + 4) / 4)


def test_nothing_eligible_costs_nothing(backbone, batch):
    noisy, prediction, timesteps, text = batch
    leaf = prediction.requires_grad_()
    value = cycle_loss(backbone)(noisy, leaf, timesteps, text, sample_weights(torch.zeros(4).bool(), torch.rand(4), 4))
    value.backward()
    assert value == 0
    assert not leaf.grad.any()

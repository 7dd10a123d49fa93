"""The null condition, and a conditioner that is saved and loaded."""

from dataclasses import asdict
from types import SimpleNamespace

import pytest
import torch

from recipevis.config import FUSERS
from recipevis.fusers.base import Shapes, select_options
from recipevis.model.conditions import Conditioner, Conditions, StepEmbeddings
from recipevis.model.denoiser import predict

SHAPES = Shapes(5, 16, 7, 12, 3, 16)


@pytest.fixture
def embeddings() -> StepEmbeddings:
    random = torch.Generator().manual_seed(0)
    return StepEmbeddings(*(torch.randn(3, *size, generator=random) for size in ((5, 16), (16,), (7, 12), (12,))))


def test_dropping_touches_only_the_chosen_samples(embeddings):
    chosen, null, null_pooled = torch.tensor([True, False, True]), torch.full((5, 16), 7.0), torch.full((16,), 8.0)
    without = embeddings.with_null(chosen, ~chosen, null, null_pooled)
    assert torch.equal(without.text[0], null)
    assert torch.equal(without.text_pooled[2], null_pooled)
    assert torch.equal(without.text[1], embeddings.text[1])
    assert not without.image[1].any()
    assert not without.image_pooled[1].any()
    assert torch.equal(without.image[[0, 2]], embeddings.image[[0, 2]])


@pytest.mark.parametrize("name", FUSERS)
def test_a_conditioner_is_saved_and_loaded(name, embeddings, tmp_path):
    conditioner = Conditioner(name, select_options(name, {"hidden": 6}, {}), **asdict(SHAPES)).eval()
    conditioner.save_pretrained(tmp_path)
    again = Conditioner.from_pretrained(tmp_path, use_safetensors=True)
    assert torch.equal(conditioner(embeddings).tokens, again(embeddings).tokens)
    assert (again.uses_text, again.uses_image) == (conditioner.uses_text, conditioner.uses_image)


def test_extra_latents_are_more_input_channels(embeddings):
    """`predict` concatenates them to the noisy latents; without them the UNet is given those alone."""
    calls = []

    def unet(latents, timesteps, encoder_hidden_states):
        calls.append((latents, timesteps, encoder_hidden_states))
        return SimpleNamespace(sample=latents[:, :4])

    noisy, extra, tokens = torch.randn(3, 4, 2, 2), torch.randn(3, 5, 2, 2), torch.randn(3, 3, 16)
    predict(unet, noisy, torch.tensor(7), Conditions(tokens))
    predict(unet, noisy, torch.tensor(7), Conditions(tokens, extra))
    assert torch.equal(calls[0][0], noisy)
    assert torch.equal(calls[1][0], torch.cat([noisy, extra], dim=1))
    assert all(torch.equal(call[2], tokens) for call in calls)

"""Null condition, dropout and guidance."""

from dataclasses import asdict

import pytest
import torch

from recipevis.config import FUSERS
from recipevis.fusers.base import Shapes
from recipevis.model.conditions import Conditioner, Embedded, dropped, guidance_terms

SHAPES = Shapes(5, 16, 7, 12, 3, 16)


@pytest.fixture
def embedded() -> Embedded:
    random = torch.Generator().manual_seed(0)
    return Embedded(*(torch.randn(3, *size, generator=random) for size in ((5, 16), (16,), (7, 12), (12,))))


def test_dropping_touches_only_the_chosen_samples(embedded):
    chosen, null, null_pooled = torch.tensor([True, False, True]), torch.full((5, 16), 7.0), torch.full((16,), 8.0)
    without = embedded.without_text(chosen, null, null_pooled).without_image(~chosen)
    assert torch.equal(without.text[0], null)
    assert torch.equal(without.text_pooled[2], null_pooled)
    assert torch.equal(without.text[1], embedded.text[1])
    assert not without.image[1].any()
    assert not without.image_pooled[1].any()
    assert torch.equal(without.image[[0, 2]], embedded.image[[0, 2]])


def test_shares_of_dropped_conditions_are_the_asked_ones():
    draws = (torch.arange(1000) + 0.5) / 1000
    text, image = dropped(draws, text=0.05, image=0.1, both=0.2)
    assert (text & ~image).sum() == 50
    assert (image & ~text).sum() == 100
    assert (image & text).sum() == 200


@pytest.mark.parametrize(("guidance", "image_guidance"), [(7.5, 7.5), (7.5, 1.5), (1.0, 1.0), (3.0, 0.0), (0.0, 0.0)])
@pytest.mark.parametrize("name", FUSERS)
def test_guidance_is_the_formula(name, guidance, image_guidance, embedded):
    """e(0,0) + s_I [e(I,0) - e(0,0)] + s_T [e(I,T) - e(I,0)], with the condition itself in e's place."""
    torch.manual_seed(0)
    conditioner = Conditioner(name, 6, True, **asdict(SHAPES)).double()
    embedded = Embedded(
        *(getattr(embedded, field).double() for field in ("text", "text_pooled", "image", "image_pooled"))
    )
    everywhere, null = torch.ones(3, dtype=torch.bool), (torch.zeros(5, 16).double(), torch.zeros(16).double())

    def e(image: bool, text: bool) -> torch.Tensor:
        seen = embedded if text else embedded.without_text(everywhere, *null)
        return conditioner(seen if image else seen.without_image(everywhere))

    terms = guidance_terms(guidance, image_guidance, conditioner.fusion.sees_text, conditioner.fusion.sees_image)
    guided = sum(term.weight * e(term.image, term.text) for term in terms)
    s_i = image_guidance if conditioner.fusion.sees_image else 0.0
    nothing, image_alone, both = e(False, False), e(True, False), e(True, True)
    expected = nothing + s_i * (image_alone - nothing) + guidance * (both - image_alone)
    torch.testing.assert_close(guided, expected, rtol=1e-9, atol=1e-9)
    assert sum(term.weight for term in terms) == pytest.approx(1)


def test_one_scale_takes_two_forward_passes_and_none_takes_one():
    assert len(guidance_terms(7.5, 7.5, True, True)) == 2
    assert len(guidance_terms(7.5, 2.0, True, True)) == 3
    assert len(guidance_terms(7.5, 2.0, True, False)) == 2
    assert len(guidance_terms(1.0, 1.0, True, True)) == 1


@pytest.mark.parametrize("name", FUSERS)
def test_a_conditioner_is_saved_and_loaded(name, embedded, tmp_path):
    conditioner = Conditioner(name, 6, True, **asdict(SHAPES)).eval()
    conditioner.save_pretrained(tmp_path)
    again = Conditioner.from_pretrained(tmp_path, use_safetensors=True)
    assert torch.equal(conditioner(embedded), again(embedded))

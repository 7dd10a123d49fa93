"""Guidance with two conditions."""

from dataclasses import asdict

import pytest
import torch

from recipevis.config import FUSERS
from recipevis.fusers.base import Shapes, select_options
from recipevis.model.conditions import Conditioner, StepEmbeddings
from recipevis.sampling.guidance import guidance_terms

SHAPES = Shapes(5, 16, 7, 12, 3, 16)


@pytest.mark.parametrize(("guidance", "image_guidance"), [(7.5, 7.5), (7.5, 1.5), (1.0, 1.0), (3.0, 0.0), (0.0, 0.0)])
@pytest.mark.parametrize("name", FUSERS)
def test_guidance_is_the_formula(name, guidance, image_guidance):
    """e(0,0) + s_I [e(I,0) - e(0,0)] + s_T [e(I,T) - e(I,0)], with the condition itself in e's place."""
    torch.manual_seed(0)
    conditioner = Conditioner(name, select_options(name, {"hidden": 6}, {}), **asdict(SHAPES)).double()
    sizes = ((5, 16), (16,), (7, 12), (12,))
    embeddings = StepEmbeddings(*(torch.randn(3, *size, dtype=torch.float64) for size in sizes))
    everywhere, null = torch.ones(3, dtype=torch.bool), (torch.zeros(5, 16).double(), torch.zeros(16).double())

    def e(image: bool, text: bool) -> torch.Tensor:
        return conditioner(embeddings.with_null(everywhere & (not text), everywhere & (not image), *null)).tokens

    terms = guidance_terms(guidance, image_guidance, conditioner.uses_text, conditioner.uses_image)
    guided = sum(term.weight * e(term.image, term.text) for term in terms)
    s_i = image_guidance if conditioner.uses_image else 0.0
    nothing, image_alone, both = e(False, False), e(True, False), e(True, True)
    expected = nothing + s_i * (image_alone - nothing) + guidance * (both - image_alone)
    torch.testing.assert_close(guided, expected, rtol=1e-9, atol=1e-9)
    assert sum(term.weight for term in terms) == pytest.approx(1)


def test_one_scale_takes_two_forward_passes_and_none_takes_one():
    assert len(guidance_terms(7.5, 7.5, True, True)) == 2
    assert len(guidance_terms(7.5, 2.0, True, True)) == 3
    assert len(guidance_terms(7.5, 2.0, True, False)) == 2
    assert len(guidance_terms(1.0, 1.0, True, True)) == 1

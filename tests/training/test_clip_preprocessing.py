"""CLIP's differentiable preprocessing against the one of transformers, which uses Pillow."""

import pytest
import torch
from transformers import CLIPImageProcessorPil

from recipevis.training.clip_preprocessing import ClipPreprocessing, clamp_straight_through
from tests.pictures import picture


@pytest.mark.parametrize(("source", "target"), [(64, 56), (64, 16), (20, 56), (32, 32), (256, 224)])
def test_clip_preprocessing_agrees_with_pillow(source, target):
    """At least 99.9 % of the values equal, none off by more than one grey level."""
    size = {"height": target, "width": target}
    processor = CLIPImageProcessorPil(size={"shortest_edge": target}, crop_size=size)
    image = picture(source)
    wanted = processor(image, return_tensors="pt").pixel_values
    ours = ClipPreprocessing(source, target, processor.image_mean, processor.image_std)
    got = ours(torch.from_numpy(image).permute(2, 0, 1)[None] / 255)
    levels = (got - wanted).abs() * torch.tensor(processor.image_std).view(1, 3, 1, 1) * 255
    assert (levels < 0.01).float().mean() >= 0.999
    assert levels.max() < 1.01


def test_the_preprocessings_gradient_is_the_resampling_alone():
    ours = ClipPreprocessing(12, 8, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25))
    unit = torch.full((1, 3, 12, 12), 0.5, requires_grad=True)
    ours(unit).sum().backward()
    # each output pixel's weights sum to 1, so the gradients sum to outputs / std
    assert unit.grad.isfinite().all()
    assert unit.grad.sum() == pytest.approx(3 * 8 * 8 / 0.25, rel=1e-4)


def test_straight_through_clamp_lets_the_gradient_pass():
    values = torch.tensor([-1.0, 0.5, 2.0], requires_grad=True)
    clamped = clamp_straight_through(values)
    clamped.sum().backward()
    assert clamped.tolist() == [0, 0.5, 1]
    assert values.grad.tolist() == [1, 1, 1]

"""Classifier-free guidance with two conditions, the sentence T and the previous image I."""

from dataclasses import dataclass


@dataclass(frozen=True)
class GuidanceTerm:
    """One forward pass of guided sampling: which conditions it is given, and the weight of its prediction."""

    text: bool
    image: bool
    weight: float


def guidance_terms(
    guidance_scale: float, image_guidance_scale: float, uses_text: bool, uses_image: bool
) -> list[GuidanceTerm]:
    """The forward passes of e(0,0) + s_I [e(I,0) - e(0,0)] + s_T [e(I,T) - e(I,0)].

    Passes with the same conditions are merged, and those of weight zero left out: with s_I = s_T two remain, and the
    sum is the paper's guidance with one scale.

    Args:
        guidance_scale: s_T, the scale of the sentence.
        image_guidance_scale: s_I, the scale of the previous image; no effect where the model doesn't use it.
        uses_text, uses_image: what the model uses.
    """
    weights: dict[tuple[bool, bool], float] = {}
    for text, image, weight in (
        (False, False, 1 - image_guidance_scale),
        (False, True, image_guidance_scale - guidance_scale),
        (True, True, guidance_scale),
    ):
        given = (text and uses_text, image and uses_image)
        weights[given] = weights.get(given, 0) + weight
    return [GuidanceTerm(*given, weight) for given, weight in weights.items() if weight]

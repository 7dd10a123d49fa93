"""Stable Diffusion's safety checker, for what is shown to others. It is off: a model comes without one."""

from pathlib import Path

import numpy as np
import torch
from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
from PIL import Image
from transformers import CLIPImageProcessorPil

from recipevis.errors import InputError
from recipevis.model.networks import LOADING_ERRORS


class SafetyChecker:
    """Replaces a picture that the checker flags by a black one.

    Args:
        folder: of a Stable Diffusion, with `safety_checker/` and `feature_extractor/`.
        device: where it runs.

    Raises:
        InputError: a part is missing or can't be loaded.
    """

    def __init__(self, folder: Path, device: str | torch.device = "cpu"):
        for part in ("safety_checker", "feature_extractor"):
            if not (folder / part).is_dir():
                raise InputError(f"{folder}: has no {part}/; name the folder of a Stable Diffusion with one")
        try:
            checker = StableDiffusionSafetyChecker.from_pretrained(folder / "safety_checker", use_safetensors=True)
            self._processor = CLIPImageProcessorPil.from_pretrained(folder / "feature_extractor")
        except LOADING_ERRORS as error:
            raise InputError(f"{folder}: can't be loaded: {' '.join(str(error).split())}") from error
        self._checker = checker.eval().to(device)

    @torch.no_grad()
    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """A picture, uint8 RGB [h, w, 3], or a black one of its size."""
        pixels = self._processor([Image.fromarray(picture)], return_tensors="pt").pixel_values
        device = next(self._checker.parameters()).device
        _, [is_flagged] = self._checker(clip_input=pixels.to(device), images=[np.array(picture)])
        return np.zeros_like(picture) if is_flagged else picture

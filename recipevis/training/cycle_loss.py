"""The cycle-consistency loss (section 2, A.4): L_cyc = 1 - CLIP(text) . CLIP(decode(pred x0)).

Where the paper is silent (docs/architecture.md): it is computed where predicted x0 amplifies an error of the predicted
noise by at most `cycle.max_amplification`, on at most `cycle.images` images of a batch, and not on samples whose
sentence was dropped.
"""

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPModel

from recipevis import images
from recipevis.errors import InputError
from recipevis.model.latents import LatentScaling
from recipevis.model.networks import Backbone
from recipevis.model.schedule import amplification, predicted_original
from recipevis.training.clip_preprocessing import ClipPreprocessing, clamp_straight_through


def eligible_timesteps(scheduler: DDPMScheduler, max_amplification: float | None) -> Tensor:
    """Timesteps whose `schedule.amplification` is at most `max_amplification`, bool [T]; None: all."""
    every = torch.arange(scheduler.config.num_train_timesteps)
    limit = float("inf") if max_amplification is None else max_amplification
    return amplification(scheduler, every) <= limit


def sample_weights(eligible: Tensor, priorities: Tensor, images: int | None) -> Tensor:
    """The weight of each sample of the whole batch in L_cyc, float [b].

    At most `images` of the eligible samples are chosen, those with the lowest priority number. Each stands for its
    share of the eligible ones, so the expected loss is the mean over the whole batch, in which the others count zero.

    Args:
        eligible: bool [b].
        priorities: distinct random numbers, [b].
        images: the most samples to choose; None: all.
    """
    weights = torch.zeros_like(priorities)
    chosen = torch.nonzero(eligible).flatten()
    chosen = chosen[priorities[chosen].argsort()][:images]
    if len(chosen):
        weights[chosen] = eligible.sum() / (len(chosen) * len(eligible))
    return weights


class CycleLoss(nn.Module):
    """L_cyc of a batch, differentiable in the UNet's prediction. Its own networks are frozen.

    Args:
        vae: the backbone's autoencoder.
        clip: the whole CLIP model.
        scheduler: the backbone's noise schedule.
        preprocessing: CLIP's, from the VAE's image size.
        max_amplification: the largest `schedule.amplification` at which a sample is eligible; None: no limit.
    """

    def __init__(
        self,
        vae: AutoencoderKL,
        clip: CLIPModel,
        scheduler: DDPMScheduler,
        preprocessing: ClipPreprocessing,
        max_amplification: float | None,
    ):
        super().__init__()
        self.vae, self.clip, self.preprocessing = vae.requires_grad_(False), clip.requires_grad_(False), preprocessing
        self.vae.enable_gradient_checkpointing()  # otherwise the decoder's activations take 1.4 GB an image
        self._scaling = LatentScaling(vae.config, vae.device)
        self.scheduler, self._timesteps = scheduler, eligible_timesteps(scheduler, max_amplification)

    def eligible(self, timesteps: Tensor, text_dropped: Tensor) -> Tensor:
        """Which samples are eligible for L_cyc, bool [b]. All tensors are on the CPU."""
        return ~text_dropped & self._timesteps[timesteps]

    def forward(self, noisy: Tensor, prediction: Tensor, timesteps: Tensor, text: Tensor, weights: Tensor) -> Tensor:
        """The weighted sum of 1 - cosine over the samples whose weight is not zero, a scalar.

        Args:
            noisy: x_t, [b, 4, h, w].
            prediction: the UNet's, [b, 4, h, w].
            timesteps: int64 [b].
            text: CLIP's projected sentences, L2-normalised, [b, projection width].
            weights: `sample_weights` of these samples, [b], on the CPU to avoid a synchronisation with the GPU.
        """
        chosen = torch.nonzero(weights).flatten()
        if not len(chosen):
            return prediction.sum() * 0
        weights, chosen = (part.to(noisy.device, non_blocking=True) for part in (weights[chosen], chosen))
        latents = predicted_original(self.scheduler, noisy[chosen], prediction[chosen].float(), timesteps[chosen])
        decoded = self.vae.decode(self._scaling.unscale(latents)).sample  # [n, 3, H, W] around [-1, 1]
        unit = clamp_straight_through(decoded.float() / 2 + 0.5)
        pooled = self.clip.vision_model(self.preprocessing(unit)).pooler_output
        image = F.normalize(self.clip.visual_projection(pooled).float(), dim=-1)  # [n, projection width]
        return (weights * (1 - (text[chosen] * image).sum(-1))).sum()


def make_cycle_loss(
    backbone: Backbone, scheduler: DDPMScheduler, pixels: int, max_amplification: float | None
) -> CycleLoss:
    """The cycle loss with a backbone's VAE and CLIP.

    Args:
        backbone: the networks.
        scheduler: the noise schedule.
        pixels: height and width of the frames.
        max_amplification: see `CycleLoss`.

    Raises:
        InputError: CLIP's preprocessor does something else than `ClipPreprocessing`.
    """
    processor, side = backbone.processor, backbone.clip.config.vision_config.image_size
    preprocessing = ClipPreprocessing(pixels, side, processor.image_mean, processor.image_std)
    noise = np.random.default_rng(0).integers(0, 256, (pixels, pixels, 3), dtype=np.uint8)
    theirs = processor(noise, return_tensors="pt").pixel_values
    differences = (preprocessing(images.to_vae([noise]) / 2 + 0.5) - theirs) * preprocessing.std * 255
    if differences.abs().mean() > 0.5:  # grey levels; equal ones differ by rounding
        raise InputError(
            f"{backbone.folder / 'clip'}: the cycle loss needs a preprocessor that makes images of {side}x{side} by "
            "bicubic resizing alone (resample 3, size and crop_size alike); set cycle.weight: 0, or use another CLIP"
        )
    preprocessing = preprocessing.to(backbone.device)
    return CycleLoss(backbone.vae, backbone.clip, scheduler, preprocessing, max_amplification)

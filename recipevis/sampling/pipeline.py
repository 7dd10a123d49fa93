"""The trained model as a diffusers pipeline: sentences and previous images in, images out (Figure 1)."""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from diffusers import AutoencoderKL, DDPMScheduler, DiffusionPipeline, UNet2DConditionModel
from torch import Tensor
from transformers import CLIPImageProcessorPil, CLIPTextModel, CLIPTokenizer, CLIPVisionModel

from recipevis import images
from recipevis.errors import ParameterError
from recipevis.model.conditions import Conditioner, Embedded, guidance_terms
from recipevis.model.networks import Backbone, encode_images, encode_sentences
from recipevis.model.schedule import make_exact


class RecipePipeline(DiffusionPipeline):
    """Draws one image for each sentence, seeing the image before it.

    Args:
        tokenizer, text_encoder: Stable Diffusion's, frozen.
        image_processor, image_encoder: CLIP's, frozen.
        conditioner: the trained fuser.
        unet: fine-tuned.
        vae: the autoencoder, frozen.
        scheduler: the noise schedule.
        pixels: height and width of an image.
        blank: colour of the image before a first step.
    """

    def __init__(
        self,
        tokenizer: CLIPTokenizer,
        text_encoder: CLIPTextModel,
        image_processor: CLIPImageProcessorPil,
        image_encoder: CLIPVisionModel,
        conditioner: Conditioner,
        unet: UNet2DConditionModel,
        vae: AutoencoderKL,
        scheduler: DDPMScheduler,
        pixels: int = 256,
        blank: str = "white",
    ):
        super().__init__()
        make_exact(scheduler)
        self.register_modules(
            tokenizer=tokenizer,
            text_encoder=text_encoder,
            image_processor=image_processor,
            image_encoder=image_encoder,
            conditioner=conditioner,
            unet=unet,
            vae=vae,
            scheduler=scheduler,
        )
        self.register_to_config(pixels=pixels, blank=blank)

    @property
    def blank_image(self) -> np.ndarray:
        """The image before a first step, uint8 [h, w, 3]."""
        return images.blank(self.config.pixels, self.config.blank)

    @torch.no_grad()
    def __call__(
        self,
        sentences: Sequence[str],
        previous: Sequence[np.ndarray],
        generators: Sequence[torch.Generator],
        steps: int = 50,
        guidance: float = 7.5,
        image_guidance: float | None = None,
    ) -> np.ndarray:
        """Draw a batch.

        Args:
            sentences: one a picture.
            previous: the image before each, uint8 RGB [h, w, 3]; `blank_image` before a first step.
            generators: one a picture, on the CPU, so that a picture doesn't depend on the batch it is drawn in.
            steps: DDPM steps (A.3: 50).
            guidance: scale of the sentence (A.3: 7.5).
            image_guidance: scale of the previous image; None: the same.

        Returns:
            uint8 RGB [b, h, w, 3].

        Raises:
            ParameterError: more steps than the noise schedule has.
        """
        if steps > (most := self.scheduler.config.num_train_timesteps):
            raise ParameterError(f"steps = {steps}: the noise schedule has {most}")
        passes = self._guided_conditions(self._embed(sentences, previous), guidance, image_guidance)
        side = self.config.pixels // 2 ** (len(self.vae.config.block_out_channels) - 1)
        shape = (self.unet.config.in_channels, side, side)
        latents = torch.stack([torch.randn(shape, generator=generator) for generator in generators]).to(self.device)
        scheduler = copy.deepcopy(self.scheduler)  # its steps are this call's: several threads may draw at once
        scheduler.set_timesteps(steps, device=self.device)
        with self.progress_bar(total=steps) as progress:
            for timestep in scheduler.timesteps:
                noisy = scheduler.scale_model_input(latents, timestep)
                prediction = sum(
                    weight * self.unet(noisy, timestep, encoder_hidden_states=condition).sample
                    for condition, weight in passes
                )
                latents = scheduler.step(prediction, timestep, latents, generator=list(generators)).prev_sample
                progress.update()
        return self.decode(latents)

    def decode(self, latents: Tensor) -> np.ndarray:
        """Scaled latents [b, 4, h / 8, w / 8] as pictures, uint8 RGB [b, h, w, 3]."""
        return images.from_vae(self.vae.decode(latents / self.vae.config.scaling_factor).sample)

    def _embed(self, sentences: Sequence[str], previous: Sequence[np.ndarray]) -> Embedded:
        return Embedded(
            *encode_sentences(self.text_encoder, self.tokenizer, sentences),
            *encode_images(self.image_encoder, self.image_processor, previous),
        )

    def _guided_conditions(
        self, embedded: Embedded, guidance: float, image_guidance: float | None
    ) -> list[tuple[Tensor, float]]:
        """The condition tokens [b, c, d] of each forward pass, and the weight of its prediction."""
        null, null_pooled = (value[0] for value in encode_sentences(self.text_encoder, self.tokenizer, [""]))
        everywhere = torch.ones(len(embedded.text), dtype=torch.bool, device=self.device)
        passes = []
        image_guidance = guidance if image_guidance is None else image_guidance
        for term in guidance_terms(guidance, image_guidance, *self.conditioner.sees):
            seen = embedded if term.text else embedded.without_text(everywhere, null, null_pooled)
            seen = seen if term.image else seen.without_image(everywhere)
            passes.append((self.conditioner(seen), term.weight))
        return passes


def assemble(
    backbone: Backbone, conditioner: Conditioner, unet: UNet2DConditionModel, pixels: int, blank: str
) -> RecipePipeline:
    """A pipeline of the backbone's frozen networks and the trained two; `pixels` and `blank` as in `frames.*`."""
    return RecipePipeline(
        tokenizer=backbone.tokenizer,
        text_encoder=backbone.text_encoder,
        image_processor=backbone.processor,
        image_encoder=backbone.clip.vision_model,
        conditioner=conditioner.eval(),
        unet=unet.eval(),
        vae=backbone.vae,
        scheduler=backbone.scheduler,
        pixels=pixels,
        blank=blank,
    )

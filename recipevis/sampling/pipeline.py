"""The trained model as a diffusers pipeline: prompts and previous images in, images out (Figure 1)."""

import copy
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DiffusionPipeline, DPMSolverMultistepScheduler, UNet2DConditionModel
from diffusers.utils import BaseOutput
from diffusers.utils.torch_utils import randn_tensor
from huggingface_hub import snapshot_download
from PIL import Image
from torch import Tensor
from transformers import CLIPImageProcessorPil, CLIPTextModel, CLIPTokenizer, CLIPVisionModel

from recipevis import images
from recipevis.config import FUSERS
from recipevis.core import files
from recipevis.core.devices import autocast, check_sampling
from recipevis.errors import InputError, ParameterError
from recipevis.model import adapters
from recipevis.model.conditions import Conditioner, Conditions, StepEmbeddings
from recipevis.model.configuration import read_configuration
from recipevis.model.denoiser import predict, widen
from recipevis.model.latents import LatentScaling, latent_shape
from recipevis.model.networks import LOADING_ERRORS, Backbone, encode_images, encode_sentences
from recipevis.model.schedule import Scheduler, load_scheduler, make_exact, sampling_scheduler
from recipevis.sampling.guidance import guidance_terms

InputImage = Image.Image | np.ndarray | Tensor
_OUTPUT_TYPES = ("pil", "np", "pt", "latent")
_DOWNLOADED = ["*.json", "*.safetensors", "*.txt"]
# Files of a saved model with which `DiffusionPipeline.from_pretrained(..., trust_remote_code=True)` finds our classes.
_MODULES = {
    "pipeline": "from recipevis.sampling.pipeline import RecipePipeline",
    "conditioner/conditioning": "from recipevis.model.conditions import Conditioner",
}
_CUSTOM = {"_class_name": ["pipeline", "RecipePipeline"], "conditioner": ["conditioning", "Conditioner"]}
_OWN = {"_class_name": "RecipePipeline", "conditioner": [Conditioner.__module__, "Conditioner"]}


@dataclass
class RecipePipelineOutput(BaseOutput):
    """What `RecipePipeline` returns.

    Attributes:
        images: a list of PIL images; for `output_type` `np` float32 [b, h, w, 3] and for `pt` float32 [b, 3, h, w],
            both in [0, 1]; for `latent` scaled latents [b, 4, h / 8, w / 8].
    """

    images: list[Image.Image] | np.ndarray | Tensor


class RecipePipeline(DiffusionPipeline):
    """Generates an image for each prompt, conditioned on the prompt and on a previous image.

    Args:
        tokenizer, text_encoder: Stable Diffusion's, frozen.
        image_processor, image_encoder: CLIP's, frozen.
        conditioner: the trained fuser.
        unet: the fine-tuned UNet.
        vae: the autoencoder, frozen.
        scheduler: the noise schedule, and how it is followed.
        pixels: height and width of an image.
        blank: colour of the image before a first step, `white` or `black`.
        num_inference_steps, guidance_scale, image_guidance_scale: defaults of `__call__`. The stage `package` sets
            them to those that the model is evaluated with; the paper's are 50 and 7.5 (A.3).
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
        scheduler: Scheduler,
        pixels: int = 256,
        blank: str = "white",
        num_inference_steps: int = 50,
        guidance_scale: float = 7.5,
        image_guidance_scale: float | None = None,
    ):
        super().__init__()
        if not isinstance(scheduler, DPMSolverMultistepScheduler):
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
        self.register_to_config(
            pixels=pixels,
            blank=blank,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            image_guidance_scale=image_guidance_scale,
        )

    @classmethod
    def download(cls, pretrained_model_name: str, **kwargs: Any) -> str:
        """Download a model from the Hugging Face Hub, or find it in the cache; `from_pretrained` calls this.

        Diffusers' own looks for the conditioner's class in the repository; here it comes from this package.

        Args:
            pretrained_model_name: `owner/name`.
            kwargs: of `DiffusionPipeline.download`; `revision`, `cache_dir`, `token`, `local_files_only` and
                `force_download` are used. Only configurations, tokenizers and safetensors are downloaded.

        Returns:
            The folder in the cache.
        """
        names = ("revision", "cache_dir", "token", "local_files_only", "force_download")
        chosen = {name: kwargs[name] for name in names if kwargs.get(name) is not None}
        return snapshot_download(pretrained_model_name, allow_patterns=_DOWNLOADED, **chosen)

    def save_pretrained(self, save_directory: str | os.PathLike, **kwargs: Any) -> None:
        """Save the model, so that `DiffusionPipeline.from_pretrained` loads it, too, if `trust_remote_code` is set.

        Args:
            save_directory: the folder.
            kwargs: see `diffusers.DiffusionPipeline.save_pretrained`.
        """
        super().save_pretrained(save_directory, **kwargs)
        folder = Path(save_directory)
        for name, code in _MODULES.items():
            files.write_text(folder / f"{name}.py", f"{code}  # noqa: F401\n")
        index = folder / self.config_name
        content = json.loads(index.read_text(encoding="utf-8")) | _CUSTOM
        files.write_text(index, json.dumps(content, indent=2, sort_keys=True) + "\n")

    @classmethod
    def load_config(cls, *args: Any, **kwargs: Any) -> Any:
        """See `diffusers.ConfigMixin.load_config`. The classes are the installed ones: no code of a model is run."""
        found = super().load_config(*args, **kwargs)
        config = found[0] if isinstance(found, tuple) else found
        config.update({key: value for key, value in _OWN.items() if key in config})
        return found

    @property
    def blank_image(self) -> Image.Image:
        """The image before a first step."""
        return Image.fromarray(images.blank(self.config.pixels, self.config.blank))

    @torch.no_grad()
    def __call__(
        self,
        prompt: str | Sequence[str],
        image: InputImage | Sequence[InputImage | None] | None = None,
        generator: torch.Generator | Sequence[torch.Generator] | None = None,
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        image_guidance_scale: float | None = None,
        output_type: str = "pil",
        return_dict: bool = True,
        first_image: InputImage | Sequence[InputImage | None] | None = None,
        drop_image: bool = False,
        precision: str = "fp32",
        callback_on_step_end: Callable[[Any, int, Tensor, dict[str, Tensor]], dict[str, Tensor] | None] | None = None,
    ) -> RecipePipelineOutput | tuple:
        """Generate images.

        Args:
            prompt: the sentence of one step, or of several.
            image: the previous image of each prompt, or one for all: a PIL image, an array [h, w, 3] or a tensor
                [3, h, w], uint8 or floats in [0, 1], of any size; also a batch or a list of these. None: a first step,
                whose previous image is blank.
            generator: one for all images, or one for each: then an image's noise does not depend on its batch. A
                generator on the CPU gives the same noise on every device.
            num_inference_steps: sampling steps; None: the model's default.
            guidance_scale: scale of the prompt; None: the model's default.
            image_guidance_scale: scale of the previous image; None: the model's default, which may be to equal
                `guidance_scale`.
            output_type: `pil`, `np`, `pt` or `latent`, see `RecipePipelineOutput`.
            return_dict: False: return a tuple with the images.
            first_image: the image of the recipe's first step, given like `image`; only a model with `first_latent` uses
                it. None: the previous image takes its place.
            drop_image: generate from the prompt alone: the previous image is dropped, as in training, and not blank.
            precision: of autocast in the fuser and the UNet, `fp32` or `bf16`, as in training. The encoders, the
                scheduler, the latents and the VAE stay fp32.
            callback_on_step_end: called after each step with (pipeline, step index, timestep, {"latents": latents});
                may return a dictionary with other latents.

        Raises:
            ParameterError: there is no prompt, the number of images or generators does not match the prompts, an image
                is not of the types above, the output type is unknown, there are more steps than the noise schedule has,
                or the device does not support the precision.
        """
        config = self.config
        steps = config.num_inference_steps if num_inference_steps is None else num_inference_steps
        guidance_scale = config.guidance_scale if guidance_scale is None else guidance_scale
        if image_guidance_scale is None:
            image_guidance_scale = config.image_guidance_scale
        if image_guidance_scale is None:
            image_guidance_scale = guidance_scale
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        if output_type not in _OUTPUT_TYPES:
            raise ParameterError(f"output_type = {output_type!r}: must be one of {', '.join(_OUTPUT_TYPES)}")
        most = self.scheduler.config.num_train_timesteps
        if not 0 < steps <= most:
            raise ParameterError(f"num_inference_steps = {steps}: must be 1 to {most}, the noise schedule's length")
        if not prompts:
            raise ParameterError("prompt is empty: give at least one sentence")
        generator = list(generator) if isinstance(generator, tuple) else generator
        if isinstance(generator, list) and len(generator) != len(prompts):
            raise ParameterError(f"{len(generator)} generators for {len(prompts)} prompts: give one, or one each")
        check_sampling(self.device, precision)
        previous = self._given_images(image, len(prompts))
        first = self._given_images(first_image, len(prompts))
        shown = [
            (self._uint8(one), self._uint8(one if other is None else other))
            for one, other in zip(previous, first, strict=True)
        ]
        terms = self._guided_conditions(prompts, shown, guidance_scale, image_guidance_scale, drop_image, precision)
        conditions, weights = _joined([conditions for conditions, _ in terms]), [weight for _, weight in terms]

        shape = (len(prompts), *latent_shape(self.vae.config, config.pixels))
        latents = randn_tensor(shape, generator=generator, device=self.device, dtype=self.unet.dtype)
        scheduler = copy.deepcopy(self.scheduler)  # its steps belong to this call: the pipeline is thread-safe
        scheduler.set_timesteps(steps)  # on the CPU: a scheduler that looks at them would wait for a GPU at each step
        timesteps = scheduler.timesteps.to(self.device)
        latents = latents * scheduler.init_noise_sigma  # 1 for DDPM; a user may set another scheduler
        # One autocast for all steps: it keeps the weights that it has converted until it ends.
        with self.progress_bar(total=steps) as progress, autocast(self.device, precision):
            for index, timestep in enumerate(scheduler.timesteps):
                noisy = scheduler.scale_model_input(latents, timestep)
                repeated = torch.cat([noisy] * len(terms)) if len(terms) > 1 else noisy
                predictions = predict(self.unet, repeated, timesteps[index], conditions).to(latents.dtype)
                prediction = sum(
                    weight * part for weight, part in zip(weights, predictions.chunk(len(terms)), strict=True)
                )
                latents = scheduler.step(prediction, timestep, latents, generator=generator).prev_sample
                if callback_on_step_end:
                    changed = callback_on_step_end(self, index, timestep, {"latents": latents}) or {}
                    latents = changed.get("latents", latents)
                progress.update()
        generated = self._postprocess(latents, output_type)
        return RecipePipelineOutput(images=generated) if return_dict else (generated,)

    def decode(self, latents: Tensor) -> Tensor:
        """Decode scaled latents [b, 4, h / 8, w / 8] to images, [b, 3, h, w] around [-1, 1]."""
        return self.vae.decode(LatentScaling(self.vae.config, latents.device).unscale(latents)).sample

    def _postprocess(self, latents: Tensor, output_type: str) -> list[Image.Image] | np.ndarray | Tensor:
        if output_type == "latent":
            return latents
        decoded = self.decode(latents)
        if output_type == "pil":
            return [Image.fromarray(array) for array in images.from_vae(decoded)]
        unit = images.to_unit(decoded)
        return unit if output_type == "pt" else unit.permute(0, 2, 3, 1).cpu().numpy()

    def _given_images(self, image: Any, count: int) -> list[Any]:
        """An image of each prompt, as it was given; None where there is none."""
        batched = isinstance(image, np.ndarray | Tensor) and image.ndim == 4
        several = list(image) if batched or isinstance(image, list | tuple) else [image] * count
        if len(several) != count:
            raise ParameterError(f"{len(several)} images for {count} prompts: give one each, or None")
        return several

    def _uint8(self, image: Any) -> np.ndarray:
        """An image, uint8 RGB [h, w, 3]; None: the blank one."""
        return images.as_uint8(self.blank_image if image is None else image)

    def _latents(
        self, previous: Sequence[np.ndarray], with_previous: bool, first: Sequence[np.ndarray], with_first: bool
    ) -> list[Tensor | None]:
        """Scaled means of the VAE's latents of both lists of images, [b, 4, h, w] each; None where not wanted.

        An image of another size is resized. Equal ones are encoded once: a first step's are blank, a second step's are
        the same image.
        """
        given = [*previous] * with_previous + [*first] * with_first
        if not given:
            return [None, None]
        keys = [picture.tobytes() for picture in given]
        distinct = {key: images.resized(picture, self.config.pixels) for key, picture in zip(keys, given, strict=True)}
        mean = self.vae.encode(images.to_vae(list(distinct.values())).to(self.device)).latent_dist.mean
        order = {key: number for number, key in enumerate(distinct)}
        latents = LatentScaling(self.vae.config, mean.device).scale(mean)[[order[key] for key in keys]]
        parts = list(latents.split(len(previous)))
        return [parts.pop(0) if wanted else None for wanted in (with_previous, with_first)]

    def _guided_conditions(
        self,
        prompts: Sequence[str],
        shown: Sequence[tuple[np.ndarray, np.ndarray]],
        guidance_scale: float,
        image_guidance_scale: float,
        drop_image: bool,
        precision: str,
    ) -> list[tuple[Conditions, float]]:
        """The conditions of each forward pass, and the weight of its prediction.

        `shown` has each prompt's previous image, and the first image of its recipe.
        """
        (previous, first), config = zip(*shown, strict=True), self.conditioner.config
        embeddings = StepEmbeddings(
            *encode_sentences(self.text_encoder, self.tokenizer, prompts),
            *encode_images(self.image_encoder, self.image_processor, previous),
            *self._latents(previous, config.previous_latent, first, config.first_latent),
        )
        null = encode_sentences(self.text_encoder, self.tokenizer, [""])
        everywhere = torch.ones(len(prompts), dtype=torch.bool, device=self.device)
        uses = self.conditioner.uses_text, self.conditioner.uses_image and not drop_image
        terms = []
        for term in guidance_terms(guidance_scale, image_guidance_scale, *uses):
            text_dropped, image_dropped = everywhere & (not term.text), everywhere & (not term.image)
            kept = embeddings.with_null(text_dropped, image_dropped, *(value[0] for value in null))
            with autocast(self.device, precision):
                terms.append((self.conditioner(kept), term.weight))
        return terms


def _joined(several: Sequence[Conditions]) -> Conditions:
    """Conditions of one batch after the other, for one forward pass."""
    if len(several) == 1:
        return several[0]
    latents = [conditions.latents for conditions in several]
    return Conditions(
        torch.cat([conditions.tokens for conditions in several]),
        None if latents[0] is None else torch.cat(latents),
    )


def assemble(
    backbone: Backbone,
    conditioner: Conditioner,
    unet: UNet2DConditionModel,
    pixels: int,
    blank: str,
    scheduler: str = "ddpm",
    **defaults: Any,
) -> RecipePipeline:
    """A pipeline of the backbone's frozen networks with a conditioner and a UNet.

    Args:
        backbone: the frozen networks.
        conditioner, unet: trained, or as they were.
        pixels, blank, scheduler: the parameters `frames.pixels`, `frames.blank` and `sample.scheduler`.
        defaults: of `RecipePipeline.__call__`.
    """
    return RecipePipeline(
        tokenizer=backbone.tokenizer,
        text_encoder=backbone.text_encoder,
        image_processor=backbone.processor,
        image_encoder=backbone.clip.vision_model,
        conditioner=conditioner.eval().to(backbone.device),
        unet=unet.eval().to(backbone.device),
        vae=backbone.vae,
        scheduler=sampling_scheduler(load_scheduler(backbone.folder / "scheduler").config, scheduler),
        pixels=pixels,
        blank=blank,
        **defaults,
    )


def load_trained(folder: Path, backbone: Backbone) -> tuple[Conditioner, UNet2DConditionModel]:
    """What the stage `train` has trained: `models/trained/conditioner` and `models/trained/unet`.

    In place of the second, `models/trained/lora` holds adapters, which are merged into the backbone's UNet.

    Raises:
        InputError: a part is missing or can't be loaded.
    """
    _check_fuser(folder)
    try:
        conditioner = Conditioner.from_pretrained(folder / "conditioner")
        if (folder / "lora").is_dir():
            unet = backbone.unet
            widen(unet, conditioner.input_channels(backbone.vae.config.latent_channels))
            adapters.merge(unet, folder / "lora")
        else:
            unet = UNet2DConditionModel.from_pretrained(folder / "unet")
    except LOADING_ERRORS as error:
        raise InputError(f"{folder}: can't be loaded: {' '.join(str(error).split())}") from error
    return conditioner, unet


def load_pipeline(folder: Path, device: str | torch.device) -> RecipePipeline:
    """Load a model that the stage `package` has written.

    Raises:
        InputError: the folder is not a RecipeVis model, or a part of it is missing.
    """
    if not (folder / "model_index.json").is_file() or not (folder / "conditioner").is_dir():
        raise InputError(f"{folder}: not a RecipeVis model: it has no model_index.json or no conditioner/")
    _check_fuser(folder)
    try:
        pipeline = RecipePipeline.from_pretrained(folder, local_files_only=True, use_safetensors=True)
    except LOADING_ERRORS as error:
        raise InputError(f"{folder}: can't be loaded: {' '.join(str(error).split())}") from error
    for part in ("conditioner", "unet", "vae"):  # diffusers leaves weights that are missing in the file uninitialised
        missing = [name for name, weight in getattr(pipeline, part).named_parameters() if weight.is_meta]
        if missing:
            raise InputError(f"{folder}: {part} lacks the weight {missing[0]}")
    given = pipeline.unet.config.in_channels
    wanted = pipeline.conditioner.input_channels(pipeline.vae.config.latent_channels)
    if given != wanted:
        latents = "previous_latent and first_latent in conditioner/config.json"
        raise InputError(f"{folder}: the UNet takes {given} channels, {latents} ask for {wanted}")
    pipeline.set_progress_bar_config(disable=True)
    return pipeline.to(device)


def _check_fuser(folder: Path) -> None:
    fuser = read_configuration(folder / "conditioner")["fuser"]
    if fuser not in FUSERS:
        raise InputError(f"{folder}: its fuser {fuser!r} is not installed; installed are {', '.join(FUSERS)}")

"""Checks of a backbone: whether its parts are whole and work as the pipeline uses them.

Each network runs once, since a configuration can be wrong in more ways than a list of keys could name. `fit` has what a
run can't show.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
import transformers
from diffusers import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from transformers import (
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextModel,
    CLIPTokenizer,
    PreTrainedModel,
)

from recipevis import images
from recipevis.backbone import judges
from recipevis.backbone.fit import check_fit, check_kind
from recipevis.core.stage import is_out_of_memory
from recipevis.errors import InputError, ParameterError, RecipeVisError
from recipevis.model.configuration import clip_configuration, read_configuration
from recipevis.model.latents import LatentScaling, latent_shape
from recipevis.model.networks import encode_images, encode_sentences
from recipevis.model.schedule import load_scheduler

transformers.utils.logging.disable_progress_bar()
diffusers.utils.logging.disable_progress_bar()

_SENTENCES = ("", "stir the onions into the pan " * 60)  # padded and truncated


def check_backbone(folder: Path, pixels: int) -> None:
    """Check that the parts of a backbone are whole, fit each other and work: each network runs once.

    Args:
        folder: the backbone, in the layout of `model.networks`.
        pixels: height and width of a frame.

    Raises:
        InputError: two parts don't fit, a part is not whole, can't be loaded or fails.
        ParameterError: frames of this size don't fit the VAE.
    """
    check_fit(folder, folder / "clip")
    latents = _check_vae(folder / "vae", pixels)
    text = _check_text_encoder(folder / "text_encoder", folder / "tokenizer")
    _check_unet(folder, latents, text)
    clip = check_clip(folder / "clip", pixels)
    pooled = _check_sentences(clip.text_model, folder / "clip", _tokenizer(folder / "clip"))[1]
    with torch.no_grad():
        _check_finite(folder / "clip", "text projections", clip.text_projection(pooled))


def check_clip(folder: Path, pixels: int) -> CLIPModel:
    """Check that a folder holds a whole CLIP whose vision tower works; returns it.

    A model of another family would load with random weights.

    Args:
        folder: the CLIP.
        pixels: height and width of a frame.

    Raises:
        InputError: it doesn't.
    """
    check_kind(folder, read_configuration(folder), "model_type", "clip")
    processor = _check_preprocessing(folder, clip_configuration(folder).vision_config.image_size, pixels)
    _tokenizer(folder)
    clip = _load(folder, CLIPModel)
    with _explained(folder, "the vision tower fails"), torch.no_grad():
        tokens, pooled = encode_images(clip.vision_model, processor, _pictures(pixels, 2))
        projected = clip.visual_projection(pooled)
    for what, values in (("image tokens", tokens), ("pooled images", pooled), ("image projections", projected)):
        _check_finite(folder, what, values)
    return clip


def check_judge(folder: Path, pixels: int, is_image_text: bool) -> None:
    """Check that an encoder that measures is of a known kind and works: it runs once on images, and on sentences.

    Args:
        folder: the encoder.
        pixels: height and width of a frame.
        is_image_text: whether it must encode sentences, too.

    Raises:
        InputError: it doesn't.
    """
    kind = judges.kind_of(folder, judges.IMAGE_TEXT if is_image_text else judges.IMAGE)
    if kind is judges.Clip:
        check_clip(folder, pixels)
    else:
        check_kind(folder, read_configuration(folder), "model_type", read_configuration(folder)["model_type"])
        _load(folder, getattr(transformers, kind.network_class))
    with _explained(folder, "fails"):
        judge = judges.open_judge(folder, "cpu")
        made = {f"{space} images": vectors for space, vectors in judge.images(_pictures(pixels, 2)).items()}
        if is_image_text:
            made["sentences"] = judge.sentences(_SENTENCES)
    for what, vectors in made.items():
        _check_finite(folder, what, torch.from_numpy(vectors))


def _check_vae(folder: Path, pixels: int) -> Tensor:
    """Encode and decode a picture with the VAE; returns its scaled latents, [1, 4, h, w]."""
    vae, pictures = _load(folder, AutoencoderKL), images.to_vae(_pictures(pixels, 1))
    factor = 2 ** (len(vae.config.block_out_channels) - 1)
    if pixels % factor:
        raise ParameterError(f"frames.pixels = {pixels}: must be a multiple of {factor}, by which the VAE shrinks")
    with _explained(folder, f"fails on pictures of {pixels}x{pixels} pixels"), torch.no_grad():
        scaling, posterior = LatentScaling(vae.config), vae.encode(pictures).latent_dist
        latents = scaling.scale(posterior.mean)
        decoded = vae.decode(scaling.unscale(latents)).sample
    _check_shape(folder, "latents", posterior.mean, (1, *latent_shape(vae.config, pixels)))
    _check_shape(folder, "decoded pictures", decoded, tuple(pictures.shape))
    for what, values in (("means", posterior.mean), ("variances", posterior.logvar), ("decoded pictures", decoded)):
        _check_finite(folder, what, values)
    return latents


def _check_text_encoder(folder: Path, words: Path) -> Tensor:
    """Check the text encoder with its tokenizer; returns text tokens, [1, t, e]."""
    return _check_sentences(_load(folder, CLIPTextModel), folder, _tokenizer(words))[0][:1]


def _check_sentences(encoder: CLIPTextModel, folder: Path, tokenizer: CLIPTokenizer) -> tuple[Tensor, Tensor]:
    """Encode an empty sentence, a long one and one of all special and added tokens; returns as `encode_sentences`."""
    largest, known = max(tokenizer.get_vocab().values(), default=0), encoder.config.vocab_size
    if largest >= known:
        raise InputError(f"{folder}: the tokenizer has tokens up to number {largest}, the text encoder knows {known}")
    added = [str(token) for token in tokenizer.added_tokens_decoder.values()]
    sentences = [*_SENTENCES, " ".join(dict.fromkeys([*tokenizer.all_special_tokens, *added]))]
    with _explained(folder, "the text encoder fails"):
        tokens, pooled = encode_sentences(encoder, tokenizer, sentences)
        ids = tokenizer(sentences, padding="max_length", truncation=True, return_tensors="pt").input_ids
    size = encoder.config.max_position_embeddings, encoder.config.hidden_size
    _check_shape(folder, "text tokens", tokens, (len(sentences), *size))
    _check_finite(folder, "text tokens", tokens)
    ends = (ids == tokenizer.eos_token_id).int().argmax(dim=1)  # the first one
    if not torch.equal(pooled, tokens[torch.arange(len(ends)), ends]):
        raise InputError(
            f"{folder}: pools a sentence elsewhere than at its end of text; eos_token_id is "
            f"{encoder.config.eos_token_id} in config.json, must be the tokenizer's, {tokenizer.eos_token_id}"
        )
    return tokens, pooled


def _check_unet(folder: Path, latents: Tensor, text: Tensor) -> None:
    """Check the UNet at the first and the last timestep, with all text tokens and with three, and the schedule.

    Args:
        folder: the backbone.
        latents: [1, 4, h, w].
        text: [1, t, e].
    """
    scheduler, unet = load_scheduler(folder / "scheduler"), _load(folder / "unet", UNet2DConditionModel)
    length = scheduler.config.num_train_timesteps
    for timestep, tokens in ((length - 1, text), (0, text[:, :3])):
        with _explained(folder / "unet", f"fails with {tokens.shape[1]} tokens"), torch.no_grad():
            prediction = unet(latents, torch.tensor([timestep]), encoder_hidden_states=tokens).sample
        _check_shape(folder / "unet", "predictions", prediction, tuple(latents.shape))
        _check_finite(folder / "unet", "predictions", prediction)
    with _explained(folder / "scheduler", "can't take a step"):
        scheduler.set_timesteps(min(2, length))
        for timestep in scheduler.timesteps:
            scheduler.step(prediction, timestep, latents, generator=torch.Generator().manual_seed(0))


def _check_preprocessing(folder: Path, size: int, pixels: int) -> CLIPImageProcessorPil:
    """Check that the preprocessor makes images of the size and range that the vision tower takes; returns it."""
    with _explained(folder, "the preprocessor (preprocessor_config.json) can't prepare an image"):
        processor = CLIPImageProcessorPil.from_pretrained(folder)
        wide = np.zeros((pixels, 2 * pixels, 3), np.uint8)  # `recipevis generate` takes images of any shape
        prepared = [processor(picture).pixel_values[0] for picture in (*_pictures(pixels, 1), wide)]
    for height, width in (image.shape[1:] for image in prepared):
        if (height, width) != (size, size):
            raise InputError(
                f"{folder}: the preprocessor's images, {width}x{height}, do not fit CLIP's, {size}x{size}; see "
                "do_resize, size, do_center_crop and crop_size in its configuration"
            )
    if not processor.do_normalize:
        raise InputError(f"{folder}: the preprocessor's do_normalize is off; CLIP takes standardised values")
    if not processor.do_rescale or not math.isclose(processor.rescale_factor * 255, 1, rel_tol=1e-3):
        raise InputError(
            f"{folder}: the preprocessor doesn't map [0, 255] to [0, 1]; set do_rescale true and rescale_factor 1/255"
        )
    return processor


def _tokenizer(folder: Path) -> CLIPTokenizer:
    with _explained(folder, "not a readable tokenizer"):
        return CLIPTokenizer.from_pretrained(folder)


def _load(folder: Path, network: type) -> Any:
    """Load a network in fp32: a missing weight would be a random one, another one each time."""
    # transformers names a weight of another shape only in its report, diffusers in its error
    ours = {"torch_dtype": torch.float32}
    if issubclass(network, PreTrainedModel):
        ours = {"dtype": torch.float32, "ignore_mismatched_sizes": True}
    with _explained(folder, "weights can't be loaded"), _quiet():
        loaded, report = network.from_pretrained(folder, output_loading_info=True, use_safetensors=True, **ours)
    faults = ["missing_keys", "mismatched_keys"]
    if not issubclass(network, PreTrainedModel):  # a CLIP's files may hold more, such as a projection
        faults.append("unexpected_keys")
    for fault in faults:
        if report[fault]:
            first = min(key if isinstance(key, str) else key[0] for key in report[fault])  # mismatched: with shapes
            raise InputError(f"{folder}: {len(report[fault])} weights are {fault.removesuffix('_keys')}: {first}, ...")
    for name, weight in loaded.named_parameters():
        if not weight.isfinite().all():
            raise InputError(f"{folder}: the weight {name} has values that are not finite")
    return loaded.eval()


def _pictures(pixels: int, count: int) -> Sequence[np.ndarray]:
    """Pictures of noise, uint8 [pixels, pixels, 3]."""
    return list(np.random.default_rng(0).integers(0, 256, (count, pixels, pixels, 3), dtype=np.uint8))


def _check_shape(folder: Path, what: str, values: Tensor, wanted: tuple[int, ...]) -> None:
    if tuple(values.shape) != wanted:
        sizes = ("x".join(map(str, shape)) for shape in (values.shape[1:], wanted[1:]))
        raise InputError(f"{folder}: makes {what} of shape {next(sizes)}; must be {next(sizes)}")


def _check_finite(folder: Path, what: str, values: Tensor) -> None:
    if not values.half().isfinite().all():  # the embeddings are cached in fp16
        raise InputError(f"{folder}: makes {what} that are not finite in fp16")


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence diffusers and transformers: they print many lines about what is checked here anyway."""
    logs = transformers.utils.logging, diffusers.utils.logging
    before = [log.get_verbosity() for log in logs]
    for log in logs:
        log.set_verbosity(log.CRITICAL)
    try:
        yield
    finally:
        for log, level in zip(logs, before, strict=True):
            log.set_verbosity(level)


@contextmanager
def _explained(folder: Path, what: str) -> Iterator[None]:
    """Turn any error of a library into one line.

    Configurations are the user's, so the libraries meet values that they don't check: nothing narrower catches all.
    """
    try:
        yield
    except RecipeVisError:
        raise
    except Exception as error:
        if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and is_out_of_memory(error)):
            raise
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(f"{folder}: {what}: {reason}") from error

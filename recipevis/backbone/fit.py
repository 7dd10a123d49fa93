"""Whether the parts of a backbone fit each other and are of the kinds that we use, by their configurations alone.

So networks from the hub are refused before gigabytes are fetched. The list of a UNet's other conditions is here because
running it can't show them: a UNet works without some of them, and predicts something else.
"""

import inspect
from pathlib import Path
from typing import Any

import diffusers

from recipevis.errors import InputError
from recipevis.model.configuration import clip_configuration, read_configuration, text_configuration
from recipevis.model.latents import LatentScaling

# Keys of a UNet's configuration for conditions beside the text tokens, with the value that needs none.
_OTHER_CONDITIONS = {
    "class_embed_type": None,
    "num_class_embeds": None,
    "addition_embed_type": None,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "time_cond_proj_dim": None,  # the guidance scale, which a latent consistency model takes
    "attention_type": "default",  # the boxes of GLIGEN
}


def check_fit(diffusion: Path, clip: Path) -> None:
    """Check by their configurations that the parts of a backbone fit each other, and are of the kinds that we use.

    Args:
        diffusion: folder with `unet/`, `vae/`, `text_encoder/`, `tokenizer/` and `scheduler/`.
        clip: folder of the whole CLIP model.

    Raises:
        InputError: two parts do not fit, with both numbers in the message; or a part is of another kind.
    """
    unet, vae, text = (read_configuration(diffusion / part) for part in ("unet", "vae", "text_encoder"))
    check_kind(diffusion / "unet", unet, "_class_name", "UNet2DConditionModel")
    check_kind(diffusion / "vae", vae, "_class_name", "AutoencoderKL")
    check_kind(diffusion / "text_encoder", text, "model_type", "clip_text_model")
    check_kind(clip, read_configuration(clip), "model_type", "clip")
    length, clip_length = (
        read_configuration(tokenizer, "tokenizer_config.json")["model_max_length"]
        for tokenizer in (diffusion / "tokenizer", clip)
    )
    text, of_clip = text_configuration(diffusion / "text_encoder"), clip_configuration(clip).text_config
    for what, ours, whose, theirs in (
        ("the UNet's cross-attention width", unet["cross_attention_dim"], "the text encoder's width", text.hidden_size),
        ("the UNet's input channels", unet["in_channels"], "the VAE's latent channels", vae["latent_channels"]),
        ("the tokenizer's length", length, "the text encoder's positions", text.max_position_embeddings),
        ("the length of CLIP's tokenizer", clip_length, "CLIP's text positions", of_clip.max_position_embeddings),
    ):
        if ours != theirs:
            raise InputError(f"{diffusion}: {what}, {ours}, does not fit {whose}, {theirs}")
    for key, none in _OTHER_CONDITIONS.items():
        if unet.get(key) not in (None, none):
            raise InputError(
                f"{diffusion / 'unet'}: {key} = {unet[key]!r}: this UNet needs a condition that RecipeVis doesn't "
                "give it; use a UNet that is conditioned on text alone"
            )
    try:
        LatentScaling({"scaling_factor": 1.0} | vae)  # the class has a default
    except ValueError as error:
        raise InputError(f"{diffusion / 'vae'}: {error}") from error
    _check_schedule(diffusion / "scheduler")


def check_kind(folder: Path, values: dict[str, Any], key: str, wanted: str) -> None:
    """Check a network's class by its configuration, and that it isn't quantised.

    Args:
        folder: of the network.
        values: its configuration.
        key: which of them names the class.
        wanted: the class.

    Raises:
        InputError: it is another one, or quantised.
    """
    if values[key] != wanted:
        raise InputError(f"{folder}: holds a model of type {values[key]!r}; must be {wanted!r}")
    if values.get("quantization_config"):
        raise InputError(f"{folder}: quantization_config is set: quantised networks are refused, use fp32 or fp16 ones")


def _check_schedule(folder: Path) -> None:
    """Check that a scheduler has a schedule of betas: the DDPM scheduler would replace another kind by its own."""
    values = read_configuration(folder, "scheduler_config.json")
    stated = any(key in values for key in ("beta_start", "beta_schedule", "trained_betas"))
    kind = values.get("_class_name", "DDPMScheduler")
    named = getattr(diffusers, str(kind), None)  # a class that takes betas may leave its defaults out
    stated = stated or (named is not None and "beta_schedule" in inspect.signature(named.__init__).parameters)
    if not stated or values.get("use_flow_sigmas") or values.get("snr_shift_scale"):
        raise InputError(
            f"{folder}: a {kind} without a noise schedule of betas (flow matching, for example); use a model that was "
            "trained with one, as Stable Diffusion 1 and 2"
        )

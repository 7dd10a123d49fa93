"""Untrained networks of the paper's classes at any size, and their tokenizer.

At the published sizes they have Stable Diffusion v1-4's and CLIP ViT-L/14's exact shapes.
"""

from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    CLIPVisionConfig,
)

from recipevis.config import RandomNetworks
from recipevis.randomness import seeded


def save(sizes: RandomNetworks, target: Path) -> None:
    """Write untrained networks in hub layout, always the same for the same `sizes.seed`.

    Args:
        sizes: the parameters `backbone.random`.
        target: the folder to write.
    """
    with seeded(sizes.seed, "untrained"):
        for name, network in make(sizes).items():
            network.save_pretrained(target / name, max_shard_size="100GB")
    tokenizer = _byte_tokenizer(sizes.text.vocabulary, sizes.text.tokens)
    for part, where in ((tokenizer, "tokenizer"), (tokenizer, "clip"), (processor(sizes), "clip")):
        part.save_pretrained(target / where)
    scheduler(sizes).save_pretrained(target / "scheduler")


def make(sizes: RandomNetworks) -> dict[str, torch.nn.Module]:
    """The networks by the name of their folder, with weights from torch's own generator."""
    text = _text_configuration(sizes)
    towers = {"text_config": text.to_dict(), "vision_config": _vision_configuration(sizes).to_dict()}
    return {
        "text_encoder": CLIPTextModel(text),
        "clip": CLIPModel(CLIPConfig(**towers, projection_dim=sizes.projection)),
        "vae": _random_vae(sizes),
        "unet": unet(sizes),
    }


def _text_configuration(sizes: RandomNetworks) -> CLIPTextConfig:
    text = sizes.text
    return CLIPTextConfig(
        vocab_size=text.vocabulary,
        hidden_size=text.width,
        intermediate_size=4 * text.width,
        projection_dim=sizes.projection,
        num_hidden_layers=text.layers,
        num_attention_heads=text.heads,
        max_position_embeddings=text.tokens,
        bos_token_id=text.vocabulary - 2,
        eos_token_id=text.vocabulary - 1,
        pad_token_id=text.vocabulary - 1,
    )


def _vision_configuration(sizes: RandomNetworks) -> CLIPVisionConfig:
    vision = sizes.vision
    return CLIPVisionConfig(
        hidden_size=vision.width,
        intermediate_size=4 * vision.width,
        projection_dim=sizes.projection,
        num_hidden_layers=vision.layers,
        num_attention_heads=vision.heads,
        image_size=vision.pixels,
        patch_size=vision.patch,
    )


def _random_vae(sizes: RandomNetworks) -> AutoencoderKL:
    levels = len(sizes.vae_channels)
    return AutoencoderKL(
        block_out_channels=sizes.vae_channels,
        down_block_types=["DownEncoderBlock2D"] * levels,
        up_block_types=["UpDecoderBlock2D"] * levels,
        layers_per_block=sizes.vae_layers,
        latent_channels=4,
        norm_num_groups=sizes.norm_groups,
        scaling_factor=0.18215,
    )


def unet(sizes: RandomNetworks) -> UNet2DConditionModel:
    """The UNet of the given sizes."""
    attention = sizes.unet_attention
    return UNet2DConditionModel(
        sample_size=64,
        block_out_channels=sizes.unet_channels,
        down_block_types=["CrossAttnDownBlock2D" if attends else "DownBlock2D" for attends in attention],
        up_block_types=["CrossAttnUpBlock2D" if attends else "UpBlock2D" for attends in reversed(attention)],
        layers_per_block=sizes.unet_layers,
        attention_head_dim=sizes.unet_heads,  # diffusers' name for the number of heads in Stable Diffusion's UNet
        cross_attention_dim=sizes.text.width,
        norm_num_groups=sizes.norm_groups,
    )


def processor(sizes: RandomNetworks) -> CLIPImageProcessorPil:
    """CLIP's preprocessing at the vision tower's size."""
    side = sizes.vision.pixels
    return CLIPImageProcessorPil(size={"shortest_edge": side}, crop_size={"height": side, "width": side})


def scheduler(sizes: RandomNetworks) -> DDPMScheduler:
    """Stable Diffusion's schedule, or its rescaled form that ends in pure noise."""
    return DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type=sizes.prediction,
        rescale_betas_zero_snr=sizes.zero_snr,
        timestep_spacing="trailing" if sizes.zero_snr else "leading",
        steps_offset=0 if sizes.zero_snr else 1,
        clip_sample=False,
    )


def _byte_tokenizer(vocabulary: int, length: int) -> CLIPTokenizer:
    """A CLIP tokenizer without merges: a token a byte, another where the byte ends a word, two special ones last."""
    alphabet = sorted(ByteLevel.alphabet())
    tokens = {token: i for i, token in enumerate([*alphabet, *(byte + "</w>" for byte in alphabet)])}
    tokens |= {"<|startoftext|>": vocabulary - 2, "<|endoftext|>": vocabulary - 1}
    return CLIPTokenizer(vocab=tokens, merges=[], model_max_length=length)

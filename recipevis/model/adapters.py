"""LoRA adapters for the UNet (Hu et al., 2022): few weights are trained, so a card of 24 GB is enough."""

from pathlib import Path

from diffusers import StableDiffusionPipeline, UNet2DConditionModel
from peft import LoraConfig
from peft.utils import get_peft_model_state_dict

from recipevis.randomness import seeded

FILE = "pytorch_lora_weights.safetensors"  # diffusers' name
_ATTENTION = ["to_q", "to_k", "to_v", "to_out.0"]


def add(unet: UNet2DConditionModel, rank: int, seed: int) -> None:
    """Freeze a UNet and add adapters to its attention, in place; they leave its predictions as they are.

    The first convolution gets one, too: the previous latent enters there.

    Args:
        unet: the UNet, already widened.
        rank: of the adapters.
        seed: of the adapters' weights.
    """
    unet.requires_grad_(False)
    with seeded(seed, "adapters"):
        unet.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=[*_ATTENTION, "conv_in"]))


def save(unet: UNet2DConditionModel, folder: Path) -> None:
    """Write the adapters alone, as `StableDiffusionPipeline.load_lora_weights` takes them."""
    StableDiffusionPipeline.save_lora_weights(folder, unet_lora_layers=get_peft_model_state_dict(unet))


def merge(unet: UNet2DConditionModel, folder: Path) -> None:
    """Load saved adapters and merge them into a UNet's weights, in place.

    Args:
        unet: the UNet that they were trained on, widened where it was.
        folder: see `save`.
    """
    unet.load_lora_adapter(folder, prefix="unet", weight_name=FILE)
    unet.fuse_lora()
    unet.unload_lora()

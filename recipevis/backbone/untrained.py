"""Untrained networks of the paper's classes, from Hugging Face configuration files.

A folder of configuration files is laid out as a backbone, without weights:

    unet/config.json  vae/config.json  text_encoder/config.json  scheduler/scheduler_config.json
    tokenizer/tokenizer_config.json  clip/config.json  clip/preprocessor_config.json  clip/tokenizer_config.json

`configs/stable-diffusion-v1-4` has the published shapes of Stable Diffusion v1-4 and CLIP ViT-L/14. The tokenizer is a
byte tokenizer of the text encoder's vocabulary size.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from huggingface_hub.errors import StrictDataclassError
from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPConfig, CLIPImageProcessorPil, CLIPModel, CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from recipevis.errors import InputError
from recipevis.model.configuration import read_configuration
from recipevis.randomness import seeded

transformers.utils.logging.disable_progress_bar()

_SEED = 0
_FILES = {
    "text_encoder": "text_encoder/config.json",
    "clip": "clip/config.json",
    "vae": "vae/config.json",
    "unet": "unet/config.json",
    "scheduler": "scheduler/scheduler_config.json",
    "tokenizer": "tokenizer/tokenizer_config.json",
    "preprocessor": "clip/preprocessor_config.json",
}


def read(folder: Path) -> dict[str, dict[str, Any]]:
    """The configurations in a folder, by part: text_encoder, clip, vae, unet, scheduler, tokenizer and preprocessor.

    Raises:
        InputError: a file is missing or is no JSON object.
    """
    return {part: read_configuration(folder, name) for part, name in _FILES.items()}


def save(configs: Mapping[str, Mapping[str, Any]], target: Path) -> None:
    """Write untrained networks in Hugging Face layout, always the same for the same configurations.

    Args:
        configs: as `read` returns them.
        target: the folder to write.

    Raises:
        InputError: no network can be made from a configuration.
    """
    with seeded(_SEED, "untrained"):
        for name, network in make_networks(configs).items():
            network.save_pretrained(target / name, max_shard_size="100GB")
    tokenizer = byte_tokenizer(configs["text_encoder"]["vocab_size"], configs["tokenizer"]["model_max_length"])
    tokenizer.save_pretrained(target / "tokenizer")
    tokenizer.save_pretrained(target / "clip")
    with _explained("preprocessor"):
        CLIPImageProcessorPil.from_dict(dict(configs["preprocessor"])).save_pretrained(target / "clip")
    with _explained("scheduler"):
        DDPMScheduler.from_config(configs["scheduler"]).save_pretrained(target / "scheduler")


def make_networks(configs: Mapping[str, Mapping[str, Any]]) -> dict[str, torch.nn.Module]:
    """The four networks by name, with weights from torch's own generator. Arguments and errors as for `save`."""
    makers = {
        "text_encoder": lambda values: CLIPTextModel(CLIPTextConfig.from_dict(values)),
        "clip": lambda values: CLIPModel(CLIPConfig.from_dict(values)),
        "vae": AutoencoderKL.from_config,
        "unet": UNet2DConditionModel.from_config,
    }
    networks = {}
    for name, maker in makers.items():
        with _explained(name):
            networks[name] = maker(dict(configs[name]))
    return networks


def byte_tokenizer(vocabulary: int, length: int) -> CLIPTokenizer:
    """A CLIP tokenizer without merges: a token a byte, another where the byte ends a word, two special ones last.

    Args:
        vocabulary: number of tokens.
        length: tokens of a padded sentence.

    Raises:
        InputError: the vocabulary has no room for them.
    """
    alphabet = sorted(ByteLevel.alphabet())
    tokens = {token: i for i, token in enumerate([*alphabet, *(byte + "</w>" for byte in alphabet)])}
    if vocabulary < len(tokens) + 2:
        raise InputError(f"text_encoder: vocab_size = {vocabulary}: the byte tokenizer needs {len(tokens) + 2}")
    tokens |= {"<|startoftext|>": vocabulary - 2, "<|endoftext|>": vocabulary - 1}
    return CLIPTokenizer(vocab=tokens, merges=[], model_max_length=length)


@contextmanager
def _explained(part: str) -> Iterator[None]:
    """The libraries' errors as one line that names the part."""
    try:
        yield
    except (StrictDataclassError, TypeError, ValueError, LookupError, RuntimeError, NotImplementedError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{part}: no network can be made from this configuration: {reason}") from error

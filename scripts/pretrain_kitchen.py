"""Pretrain the toy kitchen's networks, once: VAE, two CLIPs, UNet; the classes and the layout of the paper's.

    make kitchen-backbone

The recipes have another seed than the demo's. The UNet learns to generate a scene from its caption, as Stable Diffusion
did, and from the principal components of its own latents; it is never given a previous image. The second CLIP and the
image encoder only measure. They are trained separately, on other recipes. Finished networks are kept, so an interrupted
run resumes with the next one.
"""

import hashlib
import json
import math
import shutil
import time
from collections import deque
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from diffusers.training_utils import EMAModel
from safetensors.torch import load_model, save_model
from tokenizers import Tokenizer, models, pre_tokenizers, trainers
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    BitImageProcessorPil,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPTextModel,
    CLIPTokenizer,
    Dinov2Config,
    Dinov2Model,
)

from recipevis import images, randomness
from recipevis.backbone import untrained
from recipevis.core import files
from recipevis.core.progress import track
from recipevis.kitchen import captions, recipes
from recipevis.kitchen.drawing import rendering
from recipevis.model import networks as networks_module
from recipevis.model import schedule
from recipevis.model.networks import encode_sentences
from recipevis.randomness import generator, numpy_generator, seeded

SEED = 20240507  # of the recipes, the weights and the order of the samples; the demo's seeds are small
# The networks' shapes. Their noise schedule has more timesteps at high noise than Stable Diffusion's. Pictures as plain
# as these show through most of its noise, and a sample whose noisy latents already show the picture teaches the fuser
# nothing.
CONFIGS = Path(__file__).with_name("kitchen_configs")
LENGTH = 40  # tokens of a padded sentence
RECONSTRUCTION = 3.0  # weight of the image reconstruction in CLIP's loss


class Scenes:
    """Distinct scenes with their images and sentences.

    Args:
        steps: each step's final scene is taken; of equal scenes the last one's sentence is kept.
    """

    def __init__(self, steps: Iterable[recipes.KitchenStep]):
        self.steps = list({step.done: step for step in steps}.values())
        self.images = np.stack([rendering.picture(step.done) for step in self.steps])  # [n, h, w, 3] uint8

    @classmethod
    def of_recipes(cls, seed: int, count: int) -> "Scenes":
        """The scenes of so many recipes."""
        made = (recipes.recipe(seed, f"pretraining-{number:05d}") for number in range(count))
        return cls(step for recipe in made for step in recipe.steps)

    def __len__(self) -> int:
        return len(self.steps)

    def some(self, count: int) -> "Scenes":
        """At most `count` of the scenes, evenly spaced."""
        chosen = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).astype(int))
        return Scenes(self.steps[index] for index in chosen)

    def for_vae(self, chosen: np.ndarray) -> Tensor:
        """Images as the VAE's input, [n, 3, h, w]."""
        return images.to_vae(list(self.images[chosen]))

    def captions(self, chosen: np.ndarray, random: np.random.Generator) -> list[str]:
        """A randomly worded caption of each."""
        return [captions.caption(self.steps[index].done, random) for index in chosen]


# --- VAE


@torch.no_grad()
def pass_colours_through(vae: AutoencoderKL, constant: float = 4.0) -> None:
    """Initialise the VAE so that the first latent channels are the image's averaged colours, decoded up to an offset.

    Residual blocks start as identities. A group norm would remove an image's mean colour. Two opposite constants in its
    group prevent that: their scale dominates the colour's, and their sum gives the mean.
    """
    for block in [*vae.encoder.modules(), *vae.decoder.modules()]:
        kind = type(block).__name__
        if kind == "ResnetBlock2D":
            block.conv2.weight.zero_()
            block.conv2.bias.zero_()
            if block.conv_shortcut is not None:
                _route(block.conv_shortcut, {index: index for index in range(4)})
        elif kind == "Downsample2D":
            for channel in range(0, 64, 16) if len(block.conv.weight) == 64 else range(4):
                block.conv.weight[channel] = 0
                block.conv.weight[channel, channel, :2, :2] = 0.25
                block.conv.bias[channel] = 0
        elif kind == "Upsample2D":
            _route(block.conv, {index: index for index in range(4)})
        elif kind == "Attention":
            block.to_out[0].weight.zero_()
            block.to_out[0].bias.zero_()
    _route(vae.encoder.conv_in, {index: index for index in range(3)})
    _route(vae.decoder.conv_in, {index: index for index in range(4)})
    groups = vae.config.norm_num_groups
    # before a norm, each colour moves to a group of its own
    shortcuts = [m.conv_shortcut for m in vae.encoder.modules() if getattr(m, "conv_shortcut", None) is not None]
    _pass_norm(shortcuts[-1], vae.encoder.mid_block.resnets[-1], vae.encoder, groups, constant)
    last = vae.decoder.up_blocks[-1].resnets
    _pass_norm(last[0].conv_shortcut, last[-1], vae.decoder, groups, constant)
    vae.encoder.conv_out.weight[3:] *= 0.3
    vae.encoder.conv_out.weight[4:] *= 0.1
    vae.encoder.conv_out.bias[4:] = -5.0  # log-variance
    _route(vae.quant_conv, {index: index for index in range(8)})
    _route(vae.post_quant_conv, {index: index for index in range(4)})


def _route(conv: torch.nn.Conv2d, channels: dict[int, int]) -> None:
    """Make output channels copies of input channels; the other channels stay as they are."""
    centre = conv.kernel_size[0] // 2
    for source, target in channels.items():
        conv.weight[target] = 0
        conv.weight[target, source, centre, centre] = 1
        conv.bias[target] = 0


def _pass_norm(shortcut, before, tower, groups: int, constant: float) -> None:
    """Move the colours to the first channels of three of the norm's groups, each followed by two opposite constants."""
    group = len(tower.conv_norm_out.weight) // groups  # channels
    signal = [group * index for index in range(3)]
    _route(shortcut, {index: signal[index] for index in reversed(range(3))})
    for target in set(range(group * 3)) - set(signal):
        shortcut.weight[target], shortcut.bias[target] = 0, 0
    scale = constant * math.sqrt(2 / group)  # the norm's standard deviation
    for index, channel in enumerate(signal):
        tower.conv_norm_out.bias[channel : channel + 3] = 2.0  # where SiLU is nearly linear
        before.conv2.bias[channel + 1], before.conv2.bias[channel + 2] = constant, -constant
        tower.conv_out.weight[index] = 0
        tower.conv_out.weight[index, channel : channel + 3, 1, 1] = scale * torch.tensor([1, -0.5, -0.5])
        tower.conv_out.bias[index] = 0


def train_vae(vae: AutoencoderKL, scenes: Scenes, steps: int) -> None:
    """Train on mean squared error and a small KL term; on crops first, on whole images at the end."""
    pass_colours_through(vae)
    optimizer, rate = _optimizer(vae, 1e-3, steps)
    for step in track(range(steps), "VAE", steps):
        random = numpy_generator(SEED, "vae", step)
        whole = step >= 0.75 * steps
        batch = scenes.for_vae(random.integers(len(scenes), size=1 if whole else 4))
        if not whole:
            x, y = 8 * random.integers(17, size=2)
            batch = batch[:, :, y : y + 128, x : x + 128]
        posterior = vae.encode(batch).latent_dist
        noise = torch.randn(posterior.mean.shape, generator=generator(SEED, "vae", step))
        decoded = vae.decode(posterior.mean + posterior.std * noise).sample
        loss = F.mse_loss(decoded, batch) + 1e-5 * posterior.kl().mean() / posterior.mean[0].numel()
        _descend(loss, vae, optimizer, rate)


@torch.no_grad()
def standardise_latents(vae: AutoencoderKL, means: Tensor) -> None:
    """Fold shift and scale into the convolutions around the latents, so that scaled latents are standardised.

    Args:
        vae: changed in place; it still decodes what it encodes to the same image.
        means: latents of training images, [n, 4, h, w].
    """
    shift = means.mean((0, 2, 3))  # [4]
    scale = 1 / (means.std((0, 2, 3)) * vae.config.scaling_factor)
    encode, decode = vae.quant_conv, vae.post_quant_conv
    encode.bias[:4] = (encode.bias[:4] - shift) * scale
    encode.weight[:4] *= scale.view(4, 1, 1, 1)
    encode.bias[4:] += 2 * scale.log()  # log-variance
    decode.bias += decode.weight[:, :, 0, 0] @ shift
    decode.weight /= scale.view(1, 4, 1, 1)


@torch.no_grad()
def latents(vae: AutoencoderKL, scenes: Scenes) -> Tensor:
    """Means of the latents, [n, 4, h, w], not scaled."""
    chunks = np.array_split(np.arange(len(scenes)), max(1, len(scenes) // 4))
    return torch.cat(
        [vae.encode(scenes.for_vae(chunk)).latent_dist.mean for chunk in track(chunks, "latents", len(chunks))]
    )


# --- CLIP


def new_tokenizer(scenes: Scenes, merges: int = 420) -> CLIPTokenizer:
    """A CLIP tokenizer with byte pairs learned from the kitchen's captions and sentences."""
    random = numpy_generator(SEED, "tokenizer")
    texts = scenes.captions(np.arange(len(scenes)), random) + [step.sentence for step in scenes.steps]
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    pairs = Tokenizer(models.BPE(end_of_word_suffix="</w>"))
    pairs.pre_tokenizer = pre_tokenizers.Whitespace()
    trainer = trainers.BpeTrainer(
        vocab_size=len(alphabet) * 2 + merges, initial_alphabet=alphabet, end_of_word_suffix="</w>", show_progress=False
    )
    pairs.train_from_iterator(texts, trainer)
    learned = [tuple(pair) for pair in json.loads(pairs.to_str())["model"]["merges"]][:merges]
    tokens = [*alphabet, *(byte + "</w>" for byte in alphabet), *map("".join, learned)]
    tokens += ["<|startoftext|>", "<|endoftext|>"]
    vocabulary = {token: index for index, token in enumerate(dict.fromkeys(tokens))}
    return CLIPTokenizer(vocab=vocabulary, merges=learned, model_max_length=LENGTH)


def train_clip(clip: CLIPModel, tokenizer: CLIPTokenizer, pixels: Tensor, scenes: Scenes, steps: int, key: str) -> None:
    """Train on a contrastive loss and a reconstruction loss.

    A batch holds runs of four scenes, often of one recipe, so that CLIP must tell successive steps apart. The
    contrastive loss trains the class token only, and only on what distinguishes a scene from 127 others. CLIP's image
    tokens say far more after 400 million images. Here they learn it from the second loss: a linear layer, which is then
    discarded, reconstructs the image at 16 pixels from their mean.

    Args:
        clip: trained in place.
        tokenizer: of its texts, which are captions and sometimes the step's sentence.
        pixels: the scenes as CLIP's input, [n, 3, h, w].
        scenes: the scenes.
        steps: optimizer steps.
        key: seeds this CLIP's random numbers.
    """
    targets = F.adaptive_avg_pool2d(pixels, 16).flatten(1)  # [n, 768]
    targets = targets - targets.mean(0)
    targets /= targets.std()
    with seeded(SEED, key, "reconstruct"):
        reconstruct = torch.nn.Linear(clip.config.vision_config.hidden_size, targets.shape[1])
    trained = torch.nn.ModuleList([clip, reconstruct])
    optimizer, rate = _optimizer(trained, 1e-3, steps, decay=0.05)
    for step in track(range(steps), key, steps):
        random = numpy_generator(SEED, key, step)
        starts = random.choice(len(scenes) // 4, size=min(32, len(scenes) // 4), replace=False) * 4
        chosen = (starts[:, None] + np.arange(4)).ravel()  # [128]
        texts = scenes.captions(chosen, random)
        for index in np.flatnonzero(random.random(len(chosen)) < 0.2):
            texts[index] = scenes.steps[chosen[index]].sentence
        augmented = pixels[chosen]
        shape = (len(augmented), 1, 1, 1)
        blurred = F.avg_pool2d(augmented, 3, 1, 1, count_include_pad=False)
        augmented = augmented.lerp(blurred, torch.from_numpy(random.random(shape)).float())
        augmented = augmented + 0.15 * random.random() * torch.randn(
            augmented.shape, generator=generator(SEED, key, step)
        )
        output = clip(pixel_values=augmented, **_tokens(tokenizer, texts))
        logits, same = output.logits_per_image, torch.arange(len(augmented))
        contrastive = (F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)) / 2
        reconstructed = reconstruct(output.vision_model_output.last_hidden_state.mean(1))
        loss = contrastive + RECONSTRUCTION * F.mse_loss(reconstructed, targets[chosen])
        _descend(loss, trained, optimizer, rate)


def _tokens(tokenizer: CLIPTokenizer, texts: list[str]) -> dict[str, Tensor]:
    """Token ids, padded and truncated; the padding is not masked, as in Stable Diffusion."""
    return {"input_ids": tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids}


# --- image encoder


def new_image_encoder() -> tuple[Dinov2Model, BitImageProcessorPil]:
    """A DINOv2 with random weights, and its preprocessor."""
    folder = CONFIGS / "image_encoder"
    return Dinov2Model(Dinov2Config.from_json_file(folder / "config.json")), BitImageProcessorPil.from_pretrained(
        folder
    )


def train_image_encoder(encoder: Dinov2Model, pixels: Tensor, steps: int) -> None:
    """Train without any text: two views of a scene must be more alike than views of other scenes (InfoNCE).

    A view is shifted, blurred and noisy, and keeps its colours. A batch holds runs of four scenes, often of one recipe,
    which differ in one ingredient: so the vectors tell ingredients apart, and not colours alone.

    Args:
        encoder: trained in place.
        pixels: the scenes as its input, [n, 3, h, w], in the order of their recipes.
        steps: optimizer steps.
    """
    width = encoder.config.hidden_size
    with seeded(SEED, "image_encoder", "head"):
        head = torch.nn.Sequential(torch.nn.Linear(width, width), torch.nn.GELU(), torch.nn.Linear(width, width))
    trained = torch.nn.ModuleList([encoder, head])
    optimizer, rate = _optimizer(trained, 1e-3, steps, decay=0.05)
    for step in track(range(steps), "image encoder", steps):
        random = numpy_generator(SEED, "image_encoder", step)
        starts = random.choice(len(pixels) // 4, size=min(24, len(pixels) // 4), replace=False) * 4
        chosen = (starts[:, None] + np.arange(4)).ravel()  # [96]
        noise = generator(SEED, "image_encoder", step)
        views = torch.cat([_view(pixels[chosen], random, noise) for _ in range(2)])
        vectors = F.normalize(head(encoder(pixel_values=views).pooler_output), dim=-1)
        alike = vectors @ vectors.T / 0.1
        alike.fill_diagonal_(-torch.inf)
        other_view = torch.arange(len(vectors)).roll(len(chosen))
        _descend(F.cross_entropy(alike, other_view), trained, optimizer, rate)


def _view(pixels: Tensor, random: np.random.Generator, noise: torch.Generator) -> Tensor:
    """Each picture shifted by up to three pixels, more or less blurred, with noise."""
    x, y = random.integers(-3, 4, size=2)
    shifted = F.pad(pixels, (3, 3, 3, 3), mode="replicate")[:, :, 3 + y :, 3 + x :]
    shifted = shifted[:, :, : pixels.shape[2], : pixels.shape[3]]
    blurred = F.avg_pool2d(shifted, 3, 1, 1, count_include_pad=False)
    shifted = shifted.lerp(blurred, torch.from_numpy(random.random((len(pixels), 1, 1, 1))).float())
    return shifted + 0.15 * random.random() * torch.randn(shifted.shape, generator=noise)


# --- UNet


class Conditions:
    """The UNet's conditions: captions, as in Stable Diffusion, and in every other step a few dense tokens.

    A fuser makes a few dense tokens that correspond to no words. To prepare the UNet for them, it is also trained on
    the principal components of the image's own latents with noise added: this is what a fuser could know about an image
    that is still to be generated. No image is conditioned on another image's latents, so never on the previous one's.

    Args:
        encoder, tokenizer: the frozen text encoder.
        scenes: the scenes.
        scaled: their scaled latents, [n, 4, h, w].
        tokens: number of dense tokens.
    """

    def __init__(
        self, encoder: CLIPTextModel, tokenizer: CLIPTokenizer, scenes: Scenes, scaled: Tensor, tokens: int = 3
    ):
        self.encoder, self.tokenizer, self.scenes = encoder, tokenizer, scenes
        width = encoder.config.hidden_size
        self.dense = principal_components(scaled, tokens * width).unflatten(1, (tokens, width))  # [n, 3, e]

    def __call__(self, step: int, chosen: np.ndarray, random: np.random.Generator) -> Tensor:
        """Conditions of the chosen scenes, [b, t, e] or [b, 3, e]; a tenth of the captions is dropped."""
        if step % 2:
            texts = [text if random.random() > 0.1 else "" for text in self.scenes.captions(chosen, random)]
            return encode_sentences(self.encoder, self.tokenizer, texts)[0]
        dense = self.dense[chosen]
        noise = random.uniform(0, 0.6, (len(chosen), 1, 1)) * random.normal(size=dense.shape)
        return dense + torch.from_numpy(noise).float()


def principal_components(scaled: Tensor, count: int) -> Tensor:
    """The first principal components of latents [n, 4, h, w], float32 [n, count], with the larger ones damped.

    Component k is divided by sqrt(s_k), where s_k is its standard deviation; then all components are divided by their
    common standard deviation. Components beyond the number of scenes are 0.
    """
    flat = scaled.flatten(1)
    with seeded(SEED, "components"):
        _, _, directions = torch.pca_lowrank(flat, min(count, len(flat)))
    components = (flat - flat.mean(0)) @ directions
    components = components / components.std(0).clamp(min=1e-3).sqrt()
    components = F.pad(components, (0, count - components.shape[1]))
    return components / components.std()


def train_unet(
    unet: UNet2DConditionModel,
    scheduler: DDPMScheduler,
    scaled: Tensor,
    conditions: Conditions,
    steps: int,
) -> None:
    """Train on the denoising loss; the moving average of the weights is kept.

    Args:
        unet: trained in place.
        scheduler: the noise schedule.
        scaled: the scenes' scaled latents, [n, 4, h, w].
        conditions: the conditions of the scenes.
        steps: optimizer steps.
    """
    optimizer, rate = _optimizer(unet, 1e-3, steps, decay=0.01)
    average = EMAModel(unet.parameters(), decay=0.999, use_ema_warmup=True)
    recent = deque(maxlen=200)  # losses
    for step in track(range(steps), "UNet", steps):
        random, own = numpy_generator(SEED, "unet", step), generator(SEED, "unet", step)
        chosen = random.integers(len(scaled), size=16)
        tokens = conditions(step, chosen, random)
        clean = scaled[chosen]
        noise = torch.randn(clean.shape, generator=own)
        timesteps = torch.randint(scheduler.config.num_train_timesteps, (len(clean),), generator=own)
        noisy = schedule.add_noise(scheduler, clean, noise, timesteps)
        predicted = unet(noisy, timesteps, encoder_hidden_states=tokens).sample
        loss = F.mse_loss(predicted, schedule.target(scheduler, clean, noise, timesteps))
        _descend(loss, unet, optimizer, rate)
        average.step(unet.parameters())
        recent.append(loss.item())
        if (step + 1) % 500 == 0:
            print(f"UNet: step {step + 1}, mean loss of the last {len(recent)} steps {np.mean(recent):.4f}", flush=True)
    average.copy_to(unet.parameters())


def _optimizer(network: torch.nn.Module, learning_rate: float, steps: int, decay: float = 0.0):
    optimizer = torch.optim.AdamW(network.parameters(), lr=learning_rate, weight_decay=decay, betas=(0.9, 0.99))
    warm = max(1, min(100, steps // 10))
    rate = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / warm) * 0.5 * (1 + math.cos(math.pi * step / max(1, steps)))
    )
    return optimizer, rate


def _descend(loss: Tensor, network: torch.nn.Module, optimizer, rate) -> None:
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    rate.step()


# --- everything


def read_configs(vocabulary: int) -> dict[str, dict[str, Any]]:
    """The networks' configurations, with the vocabulary size of the learned tokenizer."""
    configs = untrained.read(CONFIGS)
    text = {"vocab_size": vocabulary, "bos_token_id": vocabulary - 2}
    text |= {"eos_token_id": vocabulary - 1, "pad_token_id": vocabulary - 1}
    configs["text_encoder"] |= text
    configs["clip"]["text_config"] |= text
    return configs


def _digest(*options: int) -> str:
    """A hash of the options and the code: networks made otherwise are not mistaken for these."""
    kitchen = sorted(Path(recipes.__file__).parent.rglob("*.py"))
    called = (Path(module.__file__) for module in (networks_module, schedule, images, randomness, untrained))
    files = [Path(__file__), *sorted(CONFIGS.rglob("*.json")), *kitchen, *called]
    return hashlib.sha256(repr(options).encode() + b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def main(
    out: Annotated[Path, typer.Option(help="folder of backbone/, encoder/ and image_encoder/")] = Path(
        "recipevis/kitchen/networks"
    ),
    work: Annotated[Path, typer.Option(help="folder of finished networks, which are kept")] = Path("build/kitchen"),
    recipe_count: Annotated[int, typer.Option("--recipes", help="recipes to render")] = 1000,
    vae_steps: Annotated[int, typer.Option(help="optimizer steps of the VAE")] = 2400,
    clip_steps: Annotated[int, typer.Option(help="optimizer steps of each CLIP")] = 800,
    unet_steps: Annotated[int, typer.Option(help="optimizer steps of the UNet")] = 5500,
    image_encoder_steps: Annotated[int, typer.Option(help="optimizer steps of the image encoder")] = 900,
    only_image_encoder: Annotated[bool, typer.Option("--only-image-encoder", help="pretrain no other network")] = False,
) -> None:
    """Pretrain the networks and save them as fp16 safetensors."""
    options = (recipe_count, vae_steps, clip_steps, unet_steps, image_encoder_steps)
    work = work / _digest(*options)
    _save(out / "image_encoder", _image_encoder(work / "image_encoder.safetensors", recipe_count, image_encoder_steps))
    if only_image_encoder:
        return
    scenes = Scenes.of_recipes(SEED, recipe_count)
    tokenizer = new_tokenizer(scenes)
    configs = read_configs(len(tokenizer))
    processor = CLIPImageProcessorPil.from_dict(configs["preprocessor"])
    scheduler = DDPMScheduler.from_config(configs["scheduler"])
    schedule.make_exact(scheduler)

    def part(name: str, train_it: Callable[[torch.nn.Module], None], kind: str) -> torch.nn.Module:
        """A network: loaded if it is finished, else trained and saved."""
        file = work / f"{name}.safetensors"
        with seeded(SEED, name):
            network = untrained.make_networks(configs)[kind]
        if file.exists():
            load_model(network, file)
            return network.eval()
        start = time.monotonic()
        train_it(network)
        print(f"{name}: {time.monotonic() - start:.0f} s")
        with files.replacing(file) as temporary:
            save_model(network, temporary)
        return network.eval()

    def train(clip: CLIPModel, scenes: Scenes, name: str) -> None:
        pixels = processor(list(scenes.images), return_tensors="pt").pixel_values
        train_clip(clip, tokenizer, pixels, scenes, clip_steps, name)

    def whole_vae(vae: torch.nn.Module) -> None:
        train_vae(vae, scenes, vae_steps)
        standardise_latents(vae, latents(vae, scenes.some(400)))

    vae = part("vae", whole_vae, "vae").requires_grad_(False)
    clip = part("clip", lambda new: train(new, scenes, "clip"), "clip")
    text_encoder = untrained.make_networks(configs)["text_encoder"]
    text_encoder.load_state_dict(clip.text_model.state_dict())

    def whole_unet(unet: torch.nn.Module) -> None:
        scaled = latents(vae, scenes) * vae.config.scaling_factor
        train_unet(unet, scheduler, scaled, Conditions(text_encoder.eval(), tokenizer, scenes, scaled), unet_steps)

    unet = part("unet", whole_unet, "unet")
    encoder = part("encoder", lambda new: train(new, Scenes.of_recipes(SEED + 1, recipe_count), "encoder"), "clip")
    for folder, parts in {
        "backbone/vae": [vae],
        "backbone/unet": [unet],
        "backbone/text_encoder": [text_encoder],
        "backbone/clip": [clip, tokenizer, processor],
        "backbone/tokenizer": [tokenizer],
        "backbone/scheduler": [scheduler],
        "encoder": [encoder, tokenizer, processor],
    }.items():
        _save(out / folder, parts)


def _image_encoder(file: Path, recipe_count: int, steps: int) -> list:
    """The image encoder, loaded if it is finished, else trained and saved; and its preprocessor."""
    with seeded(SEED, "image_encoder"):
        encoder, processor = new_image_encoder()
    if file.exists():
        load_model(encoder, file)
    else:
        scenes = Scenes.of_recipes(SEED + 2, recipe_count)
        train_image_encoder(encoder, processor(list(scenes.images), return_tensors="pt").pixel_values, steps)
        with files.replacing(file) as temporary:
            save_model(encoder, temporary)
    return [encoder.eval(), processor]


def _save(folder: Path, parts: list) -> None:
    """Save networks in fp16, and tokenizers and preprocessors."""
    shutil.rmtree(folder, ignore_errors=True)
    for each in parts:
        (each.half() if isinstance(each, torch.nn.Module) else each).save_pretrained(folder)


if __name__ == "__main__":
    typer.run(main)

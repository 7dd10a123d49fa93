"""Where a backbone comes from: the hub at a pinned revision, local folders, the package, or untrained networks.

Each writes a folder in the layout that `backbone` describes. safetensors only: pickled weights are refused.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import huggingface_hub
import numpy as np
from diffusers import AutoencoderKL, UNet2DConditionModel
from huggingface_hub.errors import HfHubHTTPError, HFValidationError
from safetensors import SafetensorError
from transformers import CLIPImageProcessorPil, CLIPModel, CLIPTextModel, CLIPTokenizer, PreTrainedModel

from recipevis.config import BackboneConfig, RandomNetworks
from recipevis.core import files
from recipevis.errors import InputError
from recipevis.model.backbone import untrained
from recipevis.model.networks import check_fit, clip_configuration, configuration
from recipevis.model.schedule import load_scheduler

DIFFUSION_PARTS = ("tokenizer", "text_encoder", "vae", "unet", "scheduler")
_NETWORKS = {"text_encoder": CLIPTextModel, "vae": AutoencoderKL, "unet": UNet2DConditionModel}
KITCHEN = Path(__file__).parents[2] / "kitchen" / "networks"  # where the toy kitchen's networks lie
_CONFIGURATIONS = ("*.json", "*.txt")
_VARIANTS = ["*.fp16.*", "*.non_ema.*", "safety_checker/*"]


def make(settings: BackboneConfig, target: Path) -> None:
    """Write the backbone that the parameters `backbone` ask for into `target`.

    Raises:
        InputError: it can't be had, holds no safetensors, or its parts don't fit.
    """
    if settings.source == "hub":
        from_hub(*_pinned(settings), target)
    elif settings.source == "folder":
        from_folder(*folders(settings), target)
    elif settings.source == "random":
        at_random(settings.random, target)
    else:
        from_package(target)


def folders(settings: BackboneConfig, made: Path = Path("models/backbone")) -> tuple[Path, Path] | None:
    """Where the networks that the parameters `backbone` ask for lie already: Stable Diffusion's folder and CLIP's.

    None: they are untrained, or not yet fetched from the hub into `made`.
    """
    if settings.source == "folder":
        folder = files.user_path(settings.folder)
        return folder, files.user_path(settings.clip_folder) if settings.clip_folder else folder / "clip"
    if settings.source == "kitchen":
        return KITCHEN / "backbone", KITCHEN / "backbone" / "clip"
    told = made / "backbone.json"
    origin = json.loads(told.read_text(encoding="utf-8")) if told.is_file() else None
    there = settings.source == "hub" and origin == _hub_origin(*_pinned(settings))
    return (made, made / "clip") if there else None


def from_hub(diffusion: tuple[str, str], clip: tuple[str, str], target: Path) -> None:
    """Bring both models from the hub, each an id and a commit; interrupted downloads go on.

    Raises:
        InputError: a repository or a revision isn't there or can't be reached, or holds no safetensors.
    """
    _copy_diffusion(_snapshot(*diffusion, DIFFUSION_PARTS), target)
    _copy_clip(_snapshot(*clip, ("",)), target / "clip")
    _finish(target, _hub_origin(diffusion, clip))


def _pinned(settings: BackboneConfig) -> tuple[tuple[str, str], tuple[str, str]]:
    """Both models on the hub, each an id and a commit."""
    diffusion, clip = settings.stable_diffusion, settings.clip
    return (diffusion.id, diffusion.revision), (clip.id, clip.revision)


def _hub_origin(diffusion: tuple[str, str], clip: tuple[str, str]) -> dict[str, str]:
    return {"source": "hub", "stable_diffusion": "@".join(diffusion), "clip": "@".join(clip)}


def from_folder(diffusion: Path, clip: Path, target: Path) -> None:
    """Copy a Stable-Diffusion-1.x-shaped folder and a CLIP folder.

    Raises:
        InputError: a part is missing, holds no safetensors, or doesn't fit the others.
    """
    check_fit(diffusion, clip, condition_tokens=1)
    _copy_diffusion(diffusion, target)
    _copy_clip(clip, target / "clip")
    _finish(target, {"source": "folder", "stable_diffusion": diffusion.name, "clip": clip.name})


def from_package(target: Path) -> None:
    """Copy the toy kitchen's networks, which ship with the package.

    Raises:
        InputError: they are not there.
    """
    _copy_diffusion(KITCHEN / "backbone", target)
    _copy_clip(KITCHEN / "backbone" / "clip", target / "clip")
    _finish(target, {"source": "kitchen", "stable_diffusion": "kitchen", "clip": "kitchen"})


def at_random(sizes: RandomNetworks, target: Path) -> None:
    """Make untrained networks of the paper's classes at the given sizes, always the same for the same seed."""
    untrained.save(sizes, target)
    _finish(target, {"source": "random", "stable_diffusion": "random", "clip": "random"})


def fetch_encoder(name: str | None, revision: str | None, target: Path) -> None:
    """Bring the second CLIP that only measures into `target`, beside `encoder.json`, which says what it is.

    Args:
        name: `kitchen` for the toy kitchen's own, a folder, or an id on the hub; None: no second CLIP.
        revision: the hub's commit.

    Raises:
        InputError: it isn't there, isn't pinned, is no whole CLIP, or holds no safetensors.
    """
    if name is not None:
        folder = KITCHEN / "encoder" if name == "kitchen" else files.user_path(name)
        if name != "kitchen" and not folder.is_dir() and not revision:
            raise InputError(
                f"evaluate.encoder = {name!r}: no such folder, and on the hub evaluate.encoder_revision is needed"
            )
        _copy_clip(folder if name == "kitchen" or folder.is_dir() else _snapshot(name, revision, ("",)), target)
        _check_clip(target)
    files.write_json(target / "encoder.json", {"encoder": name, "revision": revision})


def _snapshot(repository: str, revision: str | None, parts: Sequence[str]) -> Path:
    """A hub repository's configurations and safetensors below `parts`, in the hub's own cache."""
    prefixes = [f"{part}/" if part else "" for part in parts]
    allowed = [f"{prefix}{pattern}" for prefix in prefixes for pattern in (*_CONFIGURATIONS, "*.safetensors")]
    try:
        return Path(
            huggingface_hub.snapshot_download(
                repository, revision=revision, allow_patterns=allowed, ignore_patterns=_VARIANTS
            )
        )
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{repository}@{revision}: can't be had from the hub: {reason}") from error


def _copy_diffusion(source: Path, target: Path) -> None:
    for part in DIFFUSION_PARTS:
        weights = None if part in ("tokenizer", "scheduler") else "diffusion_pytorch_model"
        _copy(source / part, target / part, "model" if part == "text_encoder" else weights)


def _copy_clip(source: Path, target: Path) -> None:
    _copy(source, target, "model")


def _copy(source: Path, target: Path, weights: str | None) -> None:
    """Copy a part's configurations and, if it has weights, its safetensors file or shards; nothing else stays."""
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; expected a part of a model in Hugging Face layout")
    files = [file for pattern in _CONFIGURATIONS for file in sorted(source.glob(pattern))]
    if weights:
        found = [source / f"{weights}.safetensors"] if (source / f"{weights}.safetensors").exists() else []
        found = found or sorted(source.glob(f"{weights}-?????-of-?????.safetensors"))
        if not found:
            raise InputError(f"{source}: holds no {weights}.safetensors; pickled weights are refused")
        files += found
    shutil.rmtree(target, ignore_errors=True)  # an earlier try's files, which the source may hold no more
    target.mkdir(parents=True, exist_ok=True)
    for file in files:
        shutil.copyfile(file, target / file.name)


def _finish(folder: Path, origin: dict) -> None:
    """Check that the parts are whole and fit, and write where they came from."""
    check_fit(folder, folder / "clip", condition_tokens=1)
    load_scheduler(folder / "scheduler")
    _check_tokenizer(folder / "tokenizer")
    for part, network in _NETWORKS.items():
        _check_weights(folder / part, network)
    _check_clip(folder / "clip")
    files.write_json(folder / "backbone.json", origin)


def _check_clip(folder: Path) -> None:
    """A whole CLIP of the right kind: another family's folder would load with random weights."""
    kind = configuration(folder)["model_type"]
    if kind != "clip":
        raise InputError(f"{folder}: holds a model of type {kind!r}; must be 'clip'")
    _check_preprocessing(folder, clip_configuration(folder).vision_config.image_size)
    _check_tokenizer(folder)
    _check_weights(folder, CLIPModel)


def _check_preprocessing(folder: Path, size: int) -> None:
    """The preprocessor must make images of the size that the vision tower takes."""
    configuration(folder, "preprocessor_config.json")
    try:
        processor = CLIPImageProcessorPil.from_pretrained(folder)
        height, width = processor(np.zeros((size, size, 3), np.uint8)).pixel_values[0].shape[1:]
    except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{folder / 'preprocessor_config.json'}: can't prepare an image: {reason}") from error
    if (height, width) != (size, size):
        raise InputError(f"{folder}: the preprocessor's images, {width}x{height}, do not fit CLIP's, {size}x{size}")


def _check_tokenizer(folder: Path) -> None:
    """Without its files a tokenizer would be made that knows no word."""
    forms = (("tokenizer.json",), ("vocab.json", "merges.txt"))
    if not any(all((folder / name).is_file() for name in names) for names in forms):
        raise InputError(f"{folder}: holds no tokenizer; needs tokenizer.json, or vocab.json and merges.txt")
    try:
        CLIPTokenizer.from_pretrained(folder)
    except Exception as error:  # the library raises that very class for a broken vocabulary
        raise InputError(f"{folder}: no readable tokenizer: {' '.join(str(error).split())[:300]}") from error


def _check_weights(folder: Path, network: type) -> None:
    """Load a network once: weights that are missing would be random ones, other ones each time."""
    # transformers names a weight of another shape in its report only, diffusers in its error
    lenient = {"ignore_mismatched_sizes": True} if issubclass(network, PreTrainedModel) else {}
    try:
        _, report = network.from_pretrained(folder, output_loading_info=True, **lenient)
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise InputError(f"{folder}: weights can't be loaded: {' '.join(str(error).split())[:300]}") from error
    for fault in ("missing_keys", "mismatched_keys"):
        if report[fault]:
            first = min(key if isinstance(key, str) else key[0] for key in report[fault])  # mismatched: with shapes
            raise InputError(f"{folder}: {len(report[fault])} weights are {fault.removesuffix('_keys')}: {first}, ...")

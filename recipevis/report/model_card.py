"""The card of a trained model: what it was made from, how it was trained, which licences apply."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from huggingface_hub import ModelCard, ModelCardData

from recipevis.backbone.base import source_class
from recipevis.config import describe, model_name
from recipevis.core import files

_TEMPLATE = Path(__file__).with_name("model_card.md.j2")
_TRAINING = {
    "steps": "optimizer steps",
    "loss": "mean over the last 100 steps: squared error of the prediction, plus `cycle.weight` times L_cyc",
    "validation_loss": "mean squared error of the prediction on validation triplets, with the same noise in every run",
    "fuser_parameters": "trained parameters of the fuser",
    "unet_parameters": "trained parameters of the UNet",
}


def write(
    path: Path,
    *,
    training: Mapping[str, Any],
    triplets: pd.DataFrame,
    backbone: Mapping[str, str],
    dataset: str,
    dataset_licence: str,
    parameters: Mapping[str, Any],
    sampling: Mapping[str, float | None],
    uses_text: bool,
    uses_image: bool,
) -> None:
    """Write the card of a model, without scores.

    Args:
        path: where it goes, `README.md` in the model's folder.
        training: `training.json`.
        triplets: `data/triplets.csv`, what the model was trained and validated on.
        backbone: `backbone.json`.
        dataset: the parameter `dataset.source`.
        dataset_licence: of the recipes and frames, in words: the source's `licence`.
        parameters: the training's parameters by name, groups as mappings, with those of `model_name`. Leave out those
            that change how the training runs but not its result: the card must be the same either way.
        sampling: the pipeline's saved defaults by the names of its arguments; None values are left out.
        uses_text, uses_image: whether the model uses the sentence, and the previous image.
    """
    inputs = [name for name, used in (("the step's sentence", uses_text), ("the previous image", uses_image)) if used]
    base = [name.partition("@")[0] for name in (backbone["stable_diffusion"], backbone["clip"])]
    source = source_class(backbone["source"])
    licence, *licences = source.licences(backbone)
    data = ModelCardData(
        license=licence,
        library_name="diffusers",
        pipeline_tag="text-to-image",
        tags=["recipevis", "image-sequence-generation"],
        base_model=base if source.on_hub else None,
    )
    described = describe()
    card = ModelCard.from_template(
        data,
        template_path=str(_TEMPLATE),
        model=model_name(*(parameters[key] for key in ("fuser", "condition", "previous_latent", "first_latent"))),
        conditioning=_conditioning(parameters, training["fuser_parameters"] > 0),
        inputs=" and ".join(inputs) if len(inputs) > 1 else f"{inputs[0]} alone",
        recipe=json.dumps(source.example),
        sampling=", ".join(f"`{name}={value:g}`" for name, value in sampling.items() if value is not None),
        backbone=backbone,
        licences=[*licences, dataset_licence],
        dataset=dataset,
        triplets=triplets["subset"].value_counts().to_dict(),
        data_hash=hashlib.sha256(triplets.to_csv(index=False, lineterminator="\n").encode()).hexdigest(),
        training=[(name, number(training[name]), text) for name, text in _TRAINING.items()],
        parameters=[
            (name, _as_yaml(value), described.get(name, "an option of the fuser"))
            for name, value in _flat(parameters).items()
        ],
    )
    save(card, path)


def _conditioning(parameters: Mapping[str, Any], has_fuser: bool) -> str:
    """How the sentence and the previous image reach the UNet, in sentences."""
    role = "follow the sentence's tokens" if parameters["condition"] == "append" else "condition the UNet"
    tokens = f"The tokens of the fuser `{parameters['fuser']}`" if has_fuser else "The sentence's tokens"
    texts = [f"{tokens} {role}."]
    if parameters["previous_latent"]:
        which = (
            "latents of the previous image and of the first are"
            if parameters["first_latent"]
            else ("latent of the previous image is")
        )
        texts.append(f"The {which} further input of the UNet.")
    return " ".join(texts)


def save(card: ModelCard, path: Path) -> None:
    """Write a card, ending in one newline."""
    files.write_text(path, f"{str(card).rstrip()}\n")


def number(value: float | None) -> str:
    """A count in full, another number with four significant digits, since the next ones differ between machines."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:#.4g}"


def _as_yaml(value: Any) -> str:
    """A parameter as `params.yaml` has it; an empty one as a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, with dotted keys."""
    flat = {}
    for name, value in values.items():
        nested = isinstance(value, Mapping)
        flat |= _flat(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return flat

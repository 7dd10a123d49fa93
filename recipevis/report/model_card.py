"""The card of a trained model: what it was made from, how, what it scores, and whose licences hold for it."""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from recipevis.config import describe
from recipevis.core import files
from recipevis.evaluation.glossary import METRICS

_TEMPLATE = Path(__file__).with_name("model_card.md.j2")
_OURS = "Apache-2.0"
_FOLDER = "see the folder's own licence"
_PAGE = "see its page"
# Of a model and of the two parts of its backbone, by the backbone's source: the hub's key, and in words.
_BACKBONE_LICENCES = {
    "kitchen": ("apache-2.0", _OURS, _OURS),
    "random": ("apache-2.0", "untrained", "untrained"),
    "folder": ("other", _FOLDER, _FOLDER),
    "hub": ("other", _PAGE, _PAGE),
}
# Ids on the hub whose licence is known.
_STABLE_DIFFUSION_1 = re.compile(r"(CompVis|runwayml|sd-legacy|stable-diffusion-v1-5)/stable-diffusion-v1-[1-5]")
_OPENAI_CLIP = re.compile(r"openai/clip-vit-\w+-patch\d+(-336)?")
# Of recipes and frames, by the dataset's source.
_DATASET_LICENCES = {
    "kitchen": _OURS,
    "local": "see where the videos come from",
    "youtube": "each video belongs to who made it; YouTube's terms hold",
}
_KITCHENS_RECIPE = ["place a red bowl on the blue counter", "add tomatoes to the bowl"]  # it knows no other words
_RECIPE = ["chop the onions", "fry the onions in the pan"]
_LOOKED_AT = ("the step's sentence", "the image before it")
_TRAINING = {
    "steps": "optimizer steps",
    "loss": "mean over the last 100 steps: squared error of the prediction, plus `cycle.weight` times L_cyc",
    "validation_loss": "mean squared error of the prediction on validation triplets, with the same noise in every run",
    "fuser_parameters": "weights of the fuser, trained",
    "unet_parameters": "weights of the UNet, trained",
}
# What `write_with_metrics` puts the numbers to.
_CALL = "pipeline([sentence], [previous], [random])"
_NOT_SCORED = "Those that this model was scored with are in `reports/model_card.md`."


def write(
    folder: Path,
    triplets: pd.DataFrame,
    origin: Mapping[str, str],
    dataset: str,
    parameters: Mapping[str, Any],
    sees: tuple[bool, bool],
) -> None:
    """Write `README.md` into a saved model's folder.

    Args:
        folder: a saved model with its `training.json`.
        triplets: what it was trained and validated on.
        origin: `backbone.json`.
        dataset: the parameter `dataset.source`.
        parameters: the parameters of the training by name, groups as mappings; has `fuser`. Those that say how and
            not what don't belong on a card: it is the same whichever way the model was trained.
        sees: whether the fuser looks at the sentence, and at the previous image.
    """
    seen = [name for name, looked_at in zip(_LOOKED_AT, sees, strict=True) if looked_at]
    base = [name.partition("@")[0] for name in (origin["stable_diffusion"], origin["clip"])]
    licence, *licences = _licences(origin["source"], *base)
    data = ModelCardData(
        license=licence,
        library_name="diffusers",
        pipeline_tag="text-to-image",
        tags=["recipevis", "image-sequence-generation"],
        base_model=base if origin["source"] == "hub" else None,
    )
    training, described = json.loads((folder / "training.json").read_text(encoding="utf-8")), describe()
    card = ModelCard.from_template(
        data,
        template_path=str(_TEMPLATE),
        fuser=parameters["fuser"],
        seen=" and ".join(seen) if len(seen) > 1 else f"{seen[0]} alone",
        recipe=json.dumps(_KITCHENS_RECIPE if origin["source"] == "kitchen" else _RECIPE),
        call=_CALL,
        not_scored=_NOT_SCORED,
        backbone=origin,
        licences=[*licences, _DATASET_LICENCES[dataset]],
        dataset=dataset,
        triplets=triplets["subset"].value_counts().to_dict(),
        data_hash=hashlib.sha256(triplets.to_csv(index=False, lineterminator="\n").encode()).hexdigest(),
        training=[(name, _measured(training[name]), text) for name, text in _TRAINING.items()],
        parameters=[(name, _set(value), described[name]) for name, value in _flat(parameters).items()],
    )
    _write(card, folder / "README.md")


def write_with_metrics(
    folder: Path, fuser: str, asked: Mapping[str, float | None], metrics: Mapping[str, Any], target: Path
) -> None:
    """Write `model_card.md`: a model's card that tells its scores too, in its text and to the hub.

    Args:
        folder: the model, with the `README.md` that `write` made.
        fuser: the model's.
        asked: how the scored images were asked for: arguments of `RecipePipeline.__call__`; None is its default.
        metrics: `metrics.json`: four numbers, and the same four under `teacher_forced`.
        target: the folder to write to.
    """
    card = ModelCard.load(folder / "README.md")
    names = [name for name in metrics if name != "teacher_forced"]
    card.data.model_name = f"recipevis-{fuser}"
    card.data.eval_results = [
        EvalResult(
            task_type="text-to-image",
            dataset_type="recipes",
            dataset_name="validation recipes, drawn autoregressively",
            metric_type=name,
            metric_name=f"{METRICS[name].name} ({METRICS[name].better})",
            metric_value=float(_measured(metrics[name])),
        )
        for name in names
    ]
    arguments = ", ".join(f"{name}={value:g}" for name, value in asked.items() if value is not None)
    text = card.text.replace(_CALL, f"{_CALL[:-1]}, {arguments})")
    text = text.replace(_NOT_SCORED, f"The images scored below were drawn with `{arguments}`.")
    card.text = text.replace("## Limits", f"{_scores(metrics, names)}\n## Limits")
    _write(card, target / "model_card.md")


def _scores(metrics: Mapping[str, Any], names: list[str]) -> str:
    rows = [
        f"| {told.name} | {told.better} | {_measured(metrics[name])} | {_measured(metrics['teacher_forced'][name])} "
        f"| {told.text} |"
        for name in names
        for told in [METRICS[name]]
    ]
    lines = [
        "## Scores",
        "",
        "Each image against the true frame, mean over all steps of the validation recipes. Autoregressive: drawn from",
        "the image drawn before; teacher-forced: from the true one. Floors, a ceiling and intervals are in the report.",
        "",
        "| | | autoregressive | teacher-forced | |",
        "|---|---|---:|---:|---|",
        *rows,
    ]
    return "\n".join(lines) + "\n"


def _licences(source: str, stable_diffusion: str, clip: str) -> tuple[str, str, str]:
    """The model's licence as the hub's key; Stable Diffusion's and CLIP's in words."""
    model, *parts = _BACKBONE_LICENCES[source]
    if source == "hub" and _STABLE_DIFFUSION_1.fullmatch(stable_diffusion):
        model, parts[0] = "creativeml-openrail-m", "CreativeML OpenRAIL-M"
    if source == "hub" and _OPENAI_CLIP.fullmatch(clip):
        parts[1] = "MIT"
    return model, *parts


def _measured(value: float | None) -> str:
    """A count whole, a measured number with four significant digits: what is below them differs between machines."""
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:#.4g}"


def _set(value: Any) -> str:
    """A parameter as `params.yaml` has it, nothing as a dash."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.12g}" if isinstance(value, float) else str(value)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys dotted."""
    flat = {}
    for name, value in values.items():
        nested = isinstance(value, Mapping)
        flat |= _flat(value, f"{prefix}{name}.") if nested else {f"{prefix}{name}": value}
    return flat


def _write(card: ModelCard, path: Path) -> None:
    files.write_text(path, f"{str(card).rstrip()}\n")

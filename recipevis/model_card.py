"""The card of a trained model: what it was made from, how, what it scores, and whose licences hold for it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from huggingface_hub import EvalResult, ModelCard, ModelCardData

from recipevis import store

_TEMPLATE = Path(__file__).with_name("model_card.md.j2")
_OURS = "Apache-2.0"
_FOLDER = "see the folder's own licence"
# Of what a backbone is made from, by its source; of recipes and frames, by the dataset's.
_BACKBONE_LICENCES = {
    "kitchen": {"stable_diffusion": _OURS, "clip": _OURS},
    "random": {"stable_diffusion": "untrained", "clip": "untrained"},
    "folder": {"stable_diffusion": _FOLDER, "clip": _FOLDER},
    "hub": {
        "stable_diffusion": "CreativeML OpenRAIL-M where it is Stable Diffusion v1, else see its page",
        "clip": "MIT where it is OpenAI's, else see its page",
    },
}
_DATASET_LICENCES = {
    "kitchen": _OURS,
    "local": "see where the videos come from",
    "youtube": "each video belongs to who made it; YouTube's terms hold",
}
_DRAWING = {"kitchen": {"steps": 3, "guidance": 1.0}}  # where it isn't the paper's (A.3)
_HUB_LICENCES = {"kitchen": "apache-2.0", "random": "apache-2.0", "hub": "creativeml-openrail-m", "folder": "other"}


def write(
    folder: Path, triplets: pd.DataFrame, origin: Mapping[str, str], dataset: str, parameters: Mapping[str, Any]
) -> None:
    """Write `README.md` into a saved model's folder.

    Args:
        folder: a saved model with its `training.json`.
        triplets: what it was trained and validated on.
        origin: `backbone.json`.
        dataset: the parameter `dataset.source`.
        parameters: the parameters of the training by name, groups as mappings; has `fuser`.
    """
    base = [name.partition("@")[0] for name in (origin["stable_diffusion"], origin["clip"])]
    data = ModelCardData(
        license=_HUB_LICENCES[origin["source"]],
        library_name="diffusers",
        pipeline_tag="text-to-image",
        tags=["recipevis", "image-sequence-generation"],
        base_model=base if origin["source"] == "hub" else None,
        model_name=f"RecipeVis {parameters['fuser']}",
    )
    card = ModelCard.from_template(
        data,
        template_path=str(_TEMPLATE),
        folder="models/recipevis",
        fuser=parameters["fuser"],
        backbone=origin,
        licences={**_BACKBONE_LICENCES[origin["source"]], "dataset": _DATASET_LICENCES[dataset]},
        dataset=dataset,
        triplets=triplets["subset"].value_counts().to_dict(),
        data_hash=hashlib.sha256(triplets.to_csv(index=False, lineterminator="\n").encode()).hexdigest(),
        training=json.loads((folder / "training.json").read_text(encoding="utf-8")),
        parameters=_flat(parameters),
        drawing=_DRAWING.get(origin["source"], {"steps": 50, "guidance": 7.5}),
    )
    store.write_text(folder / "README.md", str(card))


def write_with_metrics(folder: Path, metrics: Mapping[str, Any], target: Path) -> None:
    """Write `model_card.md`: a model's card that tells its scores too, in its text and to the hub.

    Args:
        folder: the model, with the `README.md` that `write` made.
        metrics: `metrics.json`: four numbers, and the same four under `teacher_forced`.
        target: the folder to write to.
    """
    loaded = ModelCard.load(folder / "README.md")
    names = [name for name in metrics if name != "teacher_forced"]
    loaded.data.eval_results = [
        EvalResult(
            task_type="text-to-image",
            dataset_type="recipes",
            dataset_name="validation recipes, drawn autoregressively",
            metric_type=name,
            metric_value=metrics[name],
        )
        for name in names
    ]
    rows = [f"| {name} | {metrics[name]} | {metrics['teacher_forced'][name]} |" for name in names]
    lines = ["## Scores", "", "On the validation recipes, over all steps; floors and intervals are in the report.", ""]
    lines += ["| | autoregressive | teacher-forced |", "|---|---:|---:|", *rows, "", "## Limits"]
    loaded.text = loaded.text.replace("## Limits", "\n".join(lines))
    store.write_text(target / "model_card.md", str(loaded))


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one, keys dotted, nothing as a dash."""
    flat = {}
    for name, value in values.items():
        nested = _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else None
        flat |= {f"{prefix}{name}": "–" if value is None else value} if nested is None else nested
    return flat

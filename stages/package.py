"""Put trained and frozen networks together into a diffusers pipeline, `models/recipevis/`, with a model card."""

import json
import shutil
from pathlib import Path
from typing import Any

from recipevis.config import Config
from recipevis.core.devices import device
from recipevis.data.sources.base import source_class
from recipevis.data.tables.triplets import read_triplets
from recipevis.model.networks import Backbone
from recipevis.report import model_card
from recipevis.sampling.pipeline import assemble, load_trained
from stages import publish, run, work_folder


def main(config: Config) -> None:
    """Save the pipeline with its sampling defaults in the work folder, then publish."""
    sample, trained = config.sample, Path("models/trained")
    with work_folder("package") as work:
        backbone = Backbone(Path("models/backbone"), device("cpu"))
        defaults = {
            "num_inference_steps": sample.steps,
            "guidance_scale": sample.guidance,
            "image_guidance_scale": sample.image_guidance,
        }
        networks, frames = load_trained(trained, backbone), config.frames
        pipeline = assemble(backbone, *networks, frames.pixels, frames.blank, sample.scheduler, **defaults)
        model = work / "recipevis"
        pipeline.save_pretrained(model)
        for name in ("training.json", "history.csv"):
            shutil.copyfile(trained / name, model / name)
        model_card.write(
            model / "README.md",
            training=_json(trained / "training.json"),
            triplets=read_triplets(Path("data/triplets.csv")),
            backbone=backbone.origin,
            dataset=config.dataset.source,
            dataset_licence=source_class(config.dataset.source).licence,
            parameters=_json(trained / "parameters.json"),
            sampling=defaults,
            uses_text=pipeline.conditioner.uses_text,
            uses_image=pipeline.conditioner.uses_image,
        )
        publish("package", model, Path("models/recipevis"))


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    run("package", main)

"""Bring the frozen and the initial networks into `models/backbone/`, and the second CLIP into `models/encoder/`."""

from pathlib import Path

from recipevis.backbone.base import make
from recipevis.backbone.encoder import fetch_encoder
from recipevis.config import Config
from stages import publish, run, work_folder


def main(parameters: Config) -> None:
    """Make both folders beside, then move them to the stage's outputs."""
    evaluate = parameters.evaluate
    with work_folder("backbone") as work:
        make(parameters.backbone, work / "backbone")
        fetch_encoder(evaluate.encoder, evaluate.encoder_revision, work / "encoder")
        publish("backbone", work / "backbone", Path("models/backbone"))
        publish("backbone", work / "encoder", Path("models/encoder"))


if __name__ == "__main__":
    run("backbone", main)

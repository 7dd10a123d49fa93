"""Write the frozen and the initial networks to `models/backbone/`, and the second CLIP to `models/encoder/`."""

from pathlib import Path

from recipevis.backbone.base import make
from recipevis.backbone.encoder import fetch_encoder
from recipevis.config import Config
from recipevis.core import files
from recipevis.errors import RecipeVisError
from stages import publish, run, work_folder


def main(config: Config) -> None:
    """Write both folders in the work folder, then publish them. If one is refused, the other doesn't stay either."""
    evaluate, pixels = config.evaluate, config.frames.pixels
    with work_folder("backbone") as work:
        try:
            make(config.backbone, work / "backbone", pixels)
            fetch_encoder(evaluate.encoder, evaluate.encoder_revision, work / "encoder", pixels)
        except RecipeVisError:
            files.remove(work / "backbone")
            raise
        publish("backbone", work / "backbone", Path("models/backbone"))
        publish("backbone", work / "encoder", Path("models/encoder"))


if __name__ == "__main__":
    run("backbone", main)

"""Write the frozen and the initial networks to `models/backbone/`, and the encoders that only measure beside it."""

from pathlib import Path

from recipevis.backbone.base import make
from recipevis.backbone.encoder import IMAGE, fetch_encoder
from recipevis.config import Config
from recipevis.core import files
from recipevis.errors import RecipeVisError
from stages import publish, run, work_folder

FOLDERS = ("backbone", "encoder", "image_encoder")


def main(config: Config) -> None:
    """Write all folders in the work folder, then publish them. If one is refused, the others don't stay either."""
    evaluate, pixels = config.evaluate, config.frames.pixels
    with work_folder("backbone") as work:
        try:
            make(config.backbone, work / "backbone", pixels)
            fetch_encoder(evaluate.encoder, evaluate.encoder_revision, work / "encoder", pixels)
            name, revision = evaluate.image_encoder, evaluate.image_encoder_revision
            fetch_encoder(name, revision, work / "image_encoder", pixels, IMAGE)
        except RecipeVisError:
            for name in FOLDERS:
                files.remove(work / name)
            raise
        for name in FOLDERS:
            publish("backbone", work / name, Path("models") / name)


if __name__ == "__main__":
    run("backbone", main)

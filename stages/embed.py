"""Embed every distinct sentence and frame of the triplets into `data/embeddings/`."""

from pathlib import Path

from recipevis import images
from recipevis.config import Config
from recipevis.core import processes
from recipevis.core.devices import device
from recipevis.data.tables.triplets import read_triplets
from recipevis.embeddings import writer
from recipevis.model.networks import Backbone
from stages import leads, publish, run, work_folder


def main(config: Config) -> None:
    """Embed in the work folder, then publish."""
    with work_folder("embed") as work:
        if not processes.launch("stages.embed", config.embed.processes, work):
            triplets = read_triplets(Path("data/triplets.csv"))
            writer.embed(
                triplets["sentence"],
                [*triplets["image"], *triplets["previous_image"]],
                Backbone(Path("models/backbone"), device(config.device)),
                images.blank(config.frames.pixels, config.frames.blank),
                config.embed.batch_size,
                work / "embeddings",
            )
        if leads():
            publish("embed", work / "embeddings", Path("data/embeddings"))


if __name__ == "__main__":
    run("embed", main)

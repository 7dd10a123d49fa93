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


def main(parameters: Config) -> None:
    """Embed beside, then move to the stage's output."""
    with work_folder("embed") as work:
        if not processes.launch("stages.embed", parameters.embed.processes, work):
            table = read_triplets(Path("data/triplets.csv"))
            writer.embed(
                table["sentence"],
                [*table["image"], *table["previous_image"]],
                Backbone(Path("models/backbone"), device(parameters.device)),
                images.blank(parameters.frames.pixels, parameters.frames.blank),
                parameters.embed.batch_size,
                work / "embeddings",
            )
        if leads():
            publish("embed", work / "embeddings", Path("data/embeddings"))


if __name__ == "__main__":
    run("embed", main)

"""Have every recipe's video in the store; a row per video."""

from pathlib import Path

from recipevis import annotations, progress, sources, store
from recipevis.download import download
from recipevis.parameters import Parameters
from stages import run, work_folder


def main(parameters: Parameters) -> None:
    """Write `data/videos.csv`, and the messages to `logs/download.csv`."""
    source = sources.make_source(parameters.dataset, parameters.download)
    with work_folder("download") as work:
        recipes = annotations.read(Path("data/annotations.json"))
        videos, log = download(recipes, source, parameters.download.workers, work, parameters.execution.dask)
        store.write_text(Path("logs/download.csv"), log.to_csv(index=False, lineterminator="\n"))
        store.write_text(Path("data/videos.csv"), videos.to_csv(index=False, lineterminator="\n"))
    progress.tally("videos", zip(videos["status"], videos["error"], strict=True), Path("data/videos.csv"))


if __name__ == "__main__":
    run("download", main)

"""Get every recipe's video into the store; write a row per video."""

from pathlib import Path

from recipevis.config import Config
from recipevis.core import files, progress
from recipevis.data.download import download, log_so_far
from recipevis.data.store import open_store
from recipevis.data.tables.recipes import read_recipes
from recipevis.errors import SourceError
from stages import run, work_folder


def main(parameters: Config) -> None:
    """Write `data/videos.csv`, and the messages to `logs/download.csv`."""
    recipes = read_recipes(Path("data/annotations.json"))
    store = open_store(parameters.dataset, parameters.download)
    rows, messages = Path("data/videos.csv"), Path("logs/download.csv")
    with work_folder("download") as work:
        try:
            videos, log = download(recipes, store, parameters.download.workers, work, parameters.execution.dask)
        except SourceError:
            files.write_text(messages, log_so_far(recipes, work).to_csv(index=False, lineterminator="\n"))
            raise
        files.write_text(messages, log.to_csv(index=False, lineterminator="\n"))
        files.write_text(rows, videos.to_csv(index=False, lineterminator="\n"))
    progress.tally("videos", zip(videos["status"], videos["error"] + videos["flags"], strict=True), rows, messages)


if __name__ == "__main__":
    run("download", main)

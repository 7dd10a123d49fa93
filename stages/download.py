"""Have every recipe's video in the store; a row per video."""

from pathlib import Path

from recipevis import annotations, sources, store
from recipevis.download import download
from recipevis.parameters import Parameters
from stages import run, work_folder


def main(parameters: Parameters) -> None:
    """Write `data/videos.csv`, and the messages to `logs/download.csv`."""
    dataset, fetching = parameters.dataset, parameters.download
    source = sources.make_source(
        dataset.source,
        seed=dataset.seed,
        videos_dir=dataset.videos_dir and store.user_path(dataset.videos_dir),
        url=dataset.url,
        format=fetching.format,
        retries=fetching.retries,
        timeout_s=fetching.timeout_s,
        pause_s=fetching.pause_s,
    )
    with work_folder("download") as work:
        recipes = annotations.read(Path("data/annotations.json"))
        videos, log = download(recipes, source, fetching.workers, work)
        store.write_text(Path("logs/download.csv"), log.to_csv(index=False, lineterminator="\n"))
        store.write_text(Path("data/videos.csv"), videos.to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    run("download", main)

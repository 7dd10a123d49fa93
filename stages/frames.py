"""Save the frame in the middle of every step; write a row per step."""

from pathlib import Path

from recipevis.config import Config
from recipevis.core import files, progress
from recipevis.data import frames
from recipevis.data.store import open_store
from recipevis.data.tables.recipes import read_recipes
from recipevis.data.tables.videos import read_videos
from stages import publish, run, work_folder


def main(parameters: Config) -> None:
    """Write `data/frames/` and `data/frames.csv`."""
    store = open_store(parameters.dataset, parameters.download)
    folder, rows = Path("data/frames"), Path("data/frames.csv")
    with work_folder("frames") as work:
        table = frames.extract(
            read_recipes(Path("data/annotations.json")),
            read_videos(Path("data/videos.csv")),
            store.folder,
            store.refetch,
            parameters.frames.pixels,
            parameters.frames.resize,
            parameters.frames.workers,
            work,
            folder.as_posix(),
            parameters.execution.dask,
        )
        publish("frames", work / "frames", folder)
        files.write_text(rows, table.to_csv(index=False, lineterminator="\n"))
    progress.tally("frames, one a step", zip(table["status"], table["error"] + table["flags"], strict=True), rows)


if __name__ == "__main__":
    run("frames", main)

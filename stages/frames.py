"""Save the frame in the middle of every step; a row per step."""

from pathlib import Path

from recipevis.config import Config
from recipevis.core import files, progress
from recipevis.data import frames
from recipevis.data.sources import local
from recipevis.data.tables.recipes import read_recipes
from recipevis.data.tables.videos import read_videos
from stages import publish, run, work_folder


def main(parameters: Config) -> None:
    """Write `data/frames/` and `data/frames.csv`."""
    source = local.make_source(parameters.dataset, parameters.download)
    wanted, folder = parameters.frames, Path("data/frames")
    with work_folder("frames") as work:
        recipes = read_recipes(Path("data/annotations.json"))
        videos = read_videos(Path("data/videos.csv"))
        table = frames.extract(
            recipes,
            videos,
            source,
            wanted.pixels,
            wanted.resize,
            wanted.workers,
            work,
            folder.as_posix(),
            parameters.execution.dask,
        )
        publish("frames", work / "frames", folder)
        files.write_text(Path("data/frames.csv"), table.to_csv(index=False, lineterminator="\n"))
    ends = zip(table["status"], table["error"] + table["flags"], strict=True)
    progress.tally("frames, one a step", ends, Path("data/frames.csv"))


if __name__ == "__main__":
    run("frames", main)

"""Join sentences and frames to triplets; count what was dropped and why."""

from pathlib import Path

from recipevis.config import Config
from recipevis.core import files, progress
from recipevis.data import triplets
from recipevis.data.survivors import read_samples
from recipevis.data.tables.frames import read_frames
from recipevis.data.tables.recipes import read_recipes
from recipevis.data.vocabulary import Vocabulary
from stages import run


def main(parameters: Config) -> None:
    """Write `data/triplets.csv` and `data/survivors.json`."""
    recipes, only = read_recipes(Path("data/annotations.json")), parameters.dataset.only
    samples = read_samples(only) if only else None
    table, survivors = triplets.build(recipes, read_frames(Path("data/frames.csv")), samples)
    triplets.check(survivors)
    triplets.count_cut(survivors, table, Vocabulary.load(Path("models/backbone/tokenizer")))
    files.write_text(Path("data/triplets.csv"), table.to_csv(index=False, lineterminator="\n"))
    files.write_json(Path("data/survivors.json"), survivors)
    if samples and (missing := len(samples) - len(table)):
        print(f"manifest: {missing:,} of {len(samples):,} samples in {only} are missing here: results don't compare")
    progress.tally("triplets, of all steps", triplets.outcomes(survivors), Path("data/triplets.csv"))


if __name__ == "__main__":
    run("manifest", main)

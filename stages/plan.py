"""Choose which steps are generated, which are scored, and from which frames the controls start."""

from pathlib import Path

from recipevis.config import Config
from recipevis.core import files
from recipevis.data.tables.recipes import read_recipes
from recipevis.data.tables.triplets import read_triplets
from recipevis.sampling.plan import plan
from stages import run


def main(config: Config) -> None:
    """Write the table."""
    recipes, triplets = read_recipes(Path("data/annotations.json")), read_triplets(Path("data/triplets.csv"))
    table = plan(recipes, triplets, config.sample.recipes)
    files.write_text(Path("samples/samples.csv"), table.to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    run("plan", main)

"""Draw the validation recipes, autoregressively and teacher-forced, and the floors that need a network."""

from pathlib import Path

from recipevis.config import Config
from recipevis.core import files
from recipevis.core.devices import device
from recipevis.data.tables.recipes import read_recipes
from recipevis.data.tables.triplets import read_triplets
from recipevis.model.networks import Backbone
from recipevis.sampling import rollout
from stages import publish, run, work_folder


def main(parameters: Config) -> None:
    """Draw beside, then move to the stage's output."""
    sample, where = parameters.sample, device(parameters.device)
    recipes = read_recipes(Path("data/annotations.json"))
    table = rollout.plan(recipes, read_triplets(Path("data/triplets.csv")), sample.recipes)
    pipeline = rollout.load_pipeline(Path("models/recipevis"), where)
    sampler = rollout.Sampler(pipeline, parameters.seed, sample.steps, sample.guidance, sample.image_guidance)
    with work_folder("sample") as work:
        drawn = work / "samples"
        rollout.draw_all(table, sampler, Backbone(Path("models/backbone"), where), sample.batch_size, drawn)
        files.write_text(drawn / "samples.csv", table.to_csv(index=False, lineterminator="\n"))
        publish("sample", drawn, Path("samples"))


if __name__ == "__main__":
    run("sample", main)

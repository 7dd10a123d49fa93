"""Write what is known of each validation step's scene. Only the toy kitchen knows; for other sources it is nothing."""

from pathlib import Path

from recipevis.config import Config
from recipevis.data.tables.recipes import read_recipes
from recipevis.data.tables.scenes import write_scenes
from recipevis.kitchen import truth
from stages import run

KNOWN = {"kitchen": truth.questions}  # by source


def main(config: Config) -> None:
    """Ask about every step of the validation recipes."""
    dataset, scenes = config.dataset, {}
    ask = KNOWN.get(dataset.source)
    recipes = [recipe for recipe in read_recipes(Path("data/annotations.json")) if recipe.subset == "validation"]
    for recipe in recipes if ask else ():
        for step in recipe.steps:
            asked = ask(dataset.seed, dataset.kitchen.camera_cuts, recipe.video_id, step.step, config.frames.pixels)
            scenes[f"{recipe.video_id}_{step.step:02d}"] = asked
    write_scenes(Path("data/scenes.npz"), scenes)


if __name__ == "__main__":
    run("scenes", main)

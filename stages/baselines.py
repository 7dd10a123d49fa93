"""Generate what needs no training: the untouched backbone's images, and the ground truth through the VAE and back."""

from pathlib import Path

from recipevis.config import Config
from recipevis.core.devices import device
from recipevis.data.tables.recipes import read_recipes
from recipevis.data.tables.triplets import read_triplets
from recipevis.model.networks import Backbone
from recipevis.sampling import rollout
from stages import publish, run, work_folder


def main(config: Config) -> None:
    """Generate in the work folder, then publish."""
    sample = config.sample
    plan = rollout.plan(
        read_recipes(Path("data/annotations.json")), read_triplets(Path("data/triplets.csv")), sample.recipes
    )
    with work_folder("baselines") as work:
        backbone = Backbone(Path("models/backbone"), device(config.device))
        pipeline = rollout.untouched_backbone(backbone, config.frames.pixels, config.frames.blank)
        sampler = rollout.Sampler(pipeline, config.seed, sample.steps, sample.guidance)
        rollout.generate_baselines(plan, sampler, sample.batch_size, work)
        for name in ("untouched_backbone", "vae_round_trip"):
            publish("baselines", work / name, Path("samples") / name)


if __name__ == "__main__":
    run("baselines", main)

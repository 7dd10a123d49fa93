"""Generate what needs no training: the untouched backbone's images, and the ground truth through the VAE and back."""

from pathlib import Path

from recipevis.config import Config
from recipevis.core.devices import device
from recipevis.data.tables.samples import UNTOUCHED_BACKBONE, VAE_ROUND_TRIP, read_samples
from recipevis.model.networks import Backbone
from recipevis.sampling.baselines import generate_baselines, untouched_backbone
from recipevis.sampling.sampler import Sampler
from stages import publish, run, work_folder


def main(config: Config) -> None:
    """Generate in the work folder, then publish."""
    sample, plan = config.sample, read_samples(Path("samples/samples.csv"))
    with work_folder("baselines") as work:
        backbone = Backbone(Path("models/backbone"), device(config.device))
        pipeline = untouched_backbone(backbone, config.frames.pixels, config.frames.blank, sample.scheduler)
        sampler = Sampler(pipeline, config.seed, sample.steps, sample.guidance, precision=sample.precision)
        generate_baselines(plan, sampler, sample.batch_size, work)
        for name in (UNTOUCHED_BACKBONE, VAE_ROUND_TRIP):
            publish("baselines", work / name, Path("samples") / name)


if __name__ == "__main__":
    run("baselines", main)

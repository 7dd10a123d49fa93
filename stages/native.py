"""Generate the untouched backbone's images at the size that it was trained for, scaled down."""

from pathlib import Path

from recipevis.config import Config
from recipevis.core.devices import device
from recipevis.data.tables.samples import UNTOUCHED_NATIVE, read_samples
from recipevis.model.networks import Backbone
from recipevis.sampling.baselines import generate_native, native_pixels, untouched_backbone
from recipevis.sampling.sampler import Sampler
from stages import publish, run, work_folder


def main(config: Config) -> None:
    """Generate in the work folder, then publish."""
    sample, plan = config.sample, read_samples(Path("samples/samples.csv"))
    with work_folder("native") as work:
        backbone = Backbone(Path("models/backbone"), device(config.device))
        pipeline = untouched_backbone(backbone, native_pixels(backbone), config.frames.blank, config.sample.scheduler)
        sampler = Sampler(pipeline, config.seed, sample.steps, sample.guidance, precision=sample.precision)
        generate_native(plan, sampler, config.frames.pixels, sample.batch_size, work)
        publish("native", work / UNTOUCHED_NATIVE, Path("samples") / UNTOUCHED_NATIVE)


if __name__ == "__main__":
    run("native", main)

"""Generate the validation recipes with the trained model: autoregressively, teacher-forced, and for the controls."""

from pathlib import Path

from recipevis.config import Config
from recipevis.core.devices import device
from recipevis.data.tables.samples import OF_MODEL, read_samples
from recipevis.model.networks import Backbone
from recipevis.sampling import rollout
from recipevis.sampling.pipeline import assemble, load_trained
from recipevis.sampling.sampler import Sampler
from stages import publish, run, work_folder


def main(config: Config) -> None:
    """Generate in the work folder, then publish."""
    sample, plan = config.sample, read_samples(Path("samples/samples.csv"))
    with work_folder("sample") as work:
        backbone = Backbone(Path("models/backbone"), device(config.device))
        trained = load_trained(Path("models/trained"), backbone)
        pipeline = assemble(backbone, *trained, config.frames.pixels, config.frames.blank, sample.scheduler)
        pipeline.set_progress_bar_config(disable=True)
        guidance = sample.guidance, sample.image_guidance
        sampler = Sampler(pipeline, config.seed, sample.steps, *guidance, sample.precision)
        rollout.generate_with_model(plan, sampler, sample.batch_size, work)
        for name in OF_MODEL:
            publish("sample", work / name, Path("samples") / name)


if __name__ == "__main__":
    run("sample", main)

"""Measure the ground truth, and score what no training changes: baselines and the upper bound, once for all models."""

from pathlib import Path

from recipevis.config import Config
from recipevis.core.devices import device
from recipevis.data.tables.samples import UNTOUCHED_BACKBONE, UNTOUCHED_NATIVE, VAE_ROUND_TRIP, read_samples, steps_of
from recipevis.data.tables.scenes import read_scenes
from recipevis.data.tables.triplets import read_triplets
from recipevis.embeddings.reader import Embeddings
from recipevis.evaluation import baselines, encoders, reference, scores
from stages import publish, run, work_folder

FOLDERS = (UNTOUCHED_BACKBONE, UNTOUCHED_NATIVE, VAE_ROUND_TRIP)  # the sets that networks generated


def main(config: Config) -> None:
    """Measure and score in the work folder, then publish."""
    samples = read_samples(Path("samples/samples.csv"))
    training = read_triplets(Path("data/triplets.csv")).query("subset == 'training'")
    loaded = encoders.load(encoders.FOLDERS, device(config.device))
    with work_folder("reference") as work:
        mean = baselines.mean_image(training["image"].tolist())
        nearest = baselines.nearest_training(samples, training, Embeddings(Path("data/embeddings")))
        read = baselines.frame_baselines(mean, nearest, config.frames.blank)
        read |= {name: scores.in_folder(Path("samples") / name, steps_of(name, samples)) for name in FOLDERS}
        truth = reference.measure(samples, training, loaded, read_scenes(Path("data/scenes.npz")))
        sets = {name: scores.ImageSet(of_row) for name, of_row in read.items()}
        scored = scores.score(samples, sets, truth, loaded, work / "parts", "reference")
        truth.write(work / "reference")
        scored.write(work / "reference")
        publish("reference", work / "reference", Path("scores/reference"))


if __name__ == "__main__":
    run("reference", main)

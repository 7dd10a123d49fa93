"""Score the generated images beside baselines and upper bound; write their numbers."""

import json
from pathlib import Path

from recipevis.config import Config
from recipevis.core import files
from recipevis.core.devices import device
from recipevis.data.tables.samples import read_samples
from recipevis.data.tables.triplets import read_triplets
from recipevis.evaluation import baselines, encoders, scores
from stages import publish, run, work_folder

ENCODERS = {"clip": Path("models/backbone/clip"), "encoder": Path("models/encoder")}


def main(config: Config) -> None:
    """Score, or resume an interrupted scoring, then write the outputs."""
    samples = read_samples(Path("samples/samples.csv"))
    training = read_triplets(Path("data/triplets.csv")).query("subset == 'training'")
    mean = baselines.mean_image(training["image"].tolist())
    loaded = encoders.load(ENCODERS, device(config.device))
    with work_folder("evaluate") as work:
        scored = scores.score(samples, Path("samples"), mean, config.frames.blank, config.seed, loaded, work / "scores")
        bootstrap = (config.evaluate.resamples, config.seed)
        rows, margins = scores.summarise(scored, *bootstrap), scores.margins(scored, *bootstrap)
        result = {"experiment": _experiment(config), **scores.norms(scored), "rows": rows, "margins": margins}
        files.write_json(work / "evaluation.json", result)
        files.write_text(work / "images.csv", scored.table.to_csv(index=False, lineterminator="\n"))
        for name in ("evaluation.json", "images.csv"):
            publish("evaluate", work / name, Path("reports") / name)
        files.write_text(Path("plots/drift.csv"), scores.drift(scored).to_csv(index=False, lineterminator="\n"))
        files.write_json(Path("metrics.json"), scores.headline(rows))


def _experiment(config: Config) -> dict:
    """What was evaluated."""
    return {
        "fuser": config.fuser,
        "seed": config.seed,
        "cycle_weight": config.cycle.weight,
        "steps": config.train.steps,
        "data_hash": json.loads(Path("data/survivors.json").read_text("utf-8"))["hash"],
        "backbone": json.loads(Path("models/backbone/backbone.json").read_text("utf-8")),
    }


if __name__ == "__main__":
    run("evaluate", main)

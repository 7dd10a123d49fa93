"""Score the generated images, the baselines and the upper bound; write their numbers."""

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
ORIGINS = {"data": Path("data/survivors.json"), "backbone": Path("models/backbone/backbone.json")}


def main(config: Config) -> None:
    """Score, or resume an interrupted scoring, then write the outputs."""
    samples, resamples, seed = read_samples(Path("samples/samples.csv")), config.evaluate.resamples, config.seed
    training = read_triplets(Path("data/triplets.csv")).query("subset == 'training'")
    mean, loaded = baselines.mean_image(training["image"].tolist()), encoders.load(ENCODERS, device(config.device))
    experiment = {"fuser": config.fuser, "seed": seed, "cycle_weight": config.cycle.weight, "steps": config.train.steps}
    origins = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in ORIGINS.items()}
    experiment |= {"data_hash": origins["data"]["hash"], "backbone": origins["backbone"]}
    with work_folder("evaluate") as work:
        scored = scores.score(samples, Path("samples"), mean, config.frames.blank, seed, loaded, work / "scores")
        rows, margins = scores.summarise(scored, resamples, seed), scores.margins(scored, resamples, seed)
        result = {"experiment": experiment, **scores.norms(scored), "rows": rows, "margins": margins}
        files.write_json(work / "evaluation.json", result)
        files.write_text(work / "images.csv", scored.table.to_csv(index=False, lineterminator="\n"))
        for name in ("evaluation.json", "images.csv"):
            publish("evaluate", work / name, Path("reports") / name)
        files.write_text(Path("plots/drift.csv"), scores.drift(scored).to_csv(index=False, lineterminator="\n"))
        files.write_json(Path("metrics.json"), scores.headline(rows))


if __name__ == "__main__":
    run("evaluate", main)

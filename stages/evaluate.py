"""Score the model's images, compare them with what `reference` has scored, and write the numbers."""

import json
from pathlib import Path

from recipevis.config import Config, model_name
from recipevis.core import files
from recipevis.core.devices import device
from recipevis.data.tables.samples import AUTOREGRESSIVE, OF_MODEL, read_samples, steps_of
from recipevis.data.tables.scenes import read_scenes
from recipevis.evaluation import encoders, reference, scores, summary
from stages import publish, run, work_folder

REFERENCE = Path("scores/reference")
ORIGINS = {"data": Path("data/survivors.json"), "backbone": Path("models/backbone/backbone.json")}


def main(config: Config) -> None:
    """Score, or resume an interrupted scoring, then write the outputs."""
    samples, resamples, seed = read_samples(Path("samples/samples.csv")), config.evaluate.resamples, config.seed
    sample, loaded = config.sample, encoders.load(encoders.FOLDERS, device(config.device))
    truth = reference.Reference.read(REFERENCE, read_scenes(Path("data/scenes.npz")))
    experiment = {"fuser": config.fuser, "seed": seed, "cycle_weight": config.cycle.weight, "steps": config.train.steps}
    origins = {name: json.loads(path.read_text(encoding="utf-8")) for name, path in ORIGINS.items()}
    experiment |= {"model": model_name(config.fuser, config.condition, config.previous_latent, config.first_latent)}
    experiment |= {"data_hash": origins["data"]["hash"], "backbone": origins["backbone"]}
    sampler = {"steps": sample.steps, "guidance": sample.guidance, "image_guidance": sample.image_guidance}
    experiment |= {"sampler": sampler | {"precision": sample.precision}, "scheduler": sample.scheduler}
    sets = {
        name: scores.ImageSet(scores.in_folder(Path("samples") / name, steps_of(name, samples)), name == AUTOREGRESSIVE)
        for name in OF_MODEL
    }
    with work_folder("evaluate") as work:
        model = scores.score(samples, sets, truth, loaded, work / "parts")
        scored = model.joined(scores.Scores.read(REFERENCE))
        rows = summary.summarise(scored, resamples, seed)
        result = {"experiment": experiment, **summary.norms(truth, samples), "rows": rows}
        result |= {"recipes": summary.recipes(model), "margins": summary.margins(scored, resamples, seed)}
        files.write_json(work / "evaluation.json", result)
        files.write_text(work / "images.csv", scored.table.to_csv(index=False, lineterminator="\n"))
        model.write(work / "model")
        for name in ("evaluation.json", "images.csv"):
            publish("evaluate", work / name, Path("reports") / name)
        publish("evaluate", work / "model", Path("scores/model"))
        drift = summary.drift(scored, resamples, seed)
        files.write_text(Path("plots/drift.csv"), drift.to_csv(index=False, lineterminator="\n"))
        files.write_json(Path("metrics.json"), summary.headline(rows))


if __name__ == "__main__":
    run("evaluate", main)

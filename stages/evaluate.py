"""Score the drawn images beside floors and ceiling; write `metrics.json`, `plots/drift.*` and `reports/`."""

import json
from pathlib import Path

from recipevis.config import Config
from recipevis.core.devices import device
from recipevis.data.tables.samples import read_samples
from recipevis.data.tables.triplets import read_triplets
from recipevis.evaluation import baselines
from recipevis.evaluation import scores as evaluation
from recipevis.model.networks import clip_images
from recipevis.report import model_card, page, plots
from stages import publish, run, work_folder


def main(p: Config) -> None:
    """Score, or go on with an interrupted scoring, then report."""
    samples, drawn = read_samples(Path("samples/samples.csv")), Path("samples")
    mean = baselines.mean_image(
        read_triplets(Path("data/triplets.csv")).query("subset == 'training'")["image"].tolist()
    )
    encoders = clip_images({"clip": Path("models/backbone/clip"), "encoder": Path("models/encoder")}, device(p.device))
    files = ("models/recipevis/training", "models/backbone/backbone", "data/dataset", "data/survivors")
    about = {Path(file).name: json.loads(Path(f"{file}.json").read_text("utf-8")) for file in files}
    curves = {name: Path(f"plots/{name}.png") for name in ("train", "drift")}
    with work_folder("evaluate") as work:
        scores = evaluation.score(samples, drawn, mean, p.frames.blank, p.seed, encoders, work / "scores")
        rows, drift = evaluation.summarise(scores, p.evaluate.resamples, p.seed), evaluation.drift(scores)
        experiment = {"fuser": p.fuser, "seed": p.seed, "cycle_weight": p.cycle.weight, "steps": p.train.steps}
        experiment |= {"data_hash": about["survivors"]["hash"], "backbone": about.pop("backbone")}
        margins = evaluation.margins(scores, p.evaluate.resamples, p.seed)
        result = {"experiment": experiment, **evaluation.norms(scores), "rows": rows, "margins": margins}
        files.write_text(Path("plots/drift.csv"), drift.to_csv(index=False, lineterminator="\n"))
        plots.drift(drift, curves["drift"])
        page.write(work / "reports", result, samples, drawn, p.evaluate.strips, plots=curves, **about)
        files.write_text(work / "reports/images.csv", scores.to_csv(index=False, lineterminator="\n"))
        sample, headline = p.sample, evaluation.headline(rows)
        asked = {"steps": sample.steps, "guidance": sample.guidance, "image_guidance": sample.image_guidance}
        model_card.write_with_metrics(Path("models/recipevis"), p.fuser, asked, headline, work / "reports")
        publish("evaluate", work / "reports", Path("reports"))
        files.write_json(Path("metrics.json"), headline)


if __name__ == "__main__":
    run("evaluate", main)

"""Write what people look at: the page, the contact sheet, the plots and the scored model card."""

import json
from pathlib import Path

import pandas as pd

from recipevis.config import Config
from recipevis.core import files
from recipevis.data.tables.samples import read_samples
from recipevis.report import contact_sheet, page, plots, scored_card
from recipevis.report.history import thinned
from stages import run

PLOTS = {name: Path(f"plots/{name}.png") for name in ("train", "drift")}
FILES = {
    "result": "reports/evaluation.json",
    "training": "models/trained/training.json",
    "dataset": "data/dataset.json",
    "survivors": "data/survivors.json",
}


def main(config: Config) -> None:
    """Write all of it, from files alone."""
    samples, folder, strips = read_samples(Path("samples/samples.csv")), Path("samples"), config.evaluate.strips
    about = {name: json.loads(Path(file).read_text(encoding="utf-8")) for name, file in FILES.items()}
    history = thinned(pd.read_csv("models/trained/history.csv"))
    files.write_text(Path("plots/train.csv"), history.to_csv(index=False, lineterminator="\n"))
    plots.training_curve(history, PLOTS["train"])
    drift = pd.read_csv("plots/drift.csv")
    plots.drift(drift, PLOTS["drift"])
    contact_sheet.write(Path("reports/contact_sheet.png"), samples, folder, strips)
    about |= {"images": pd.read_csv("reports/images.csv", dtype={"sample_id": str, "video_id": str})}
    about |= {"samples": samples, "folder": folder, "strips": strips, "history": history, "drift": drift}
    page.write(Path("reports/index.html"), **about)
    scores, model = json.loads(Path("metrics.json").read_text(encoding="utf-8")), about["result"]["experiment"]["model"]
    scored_card.write(Path("reports/model_card.md"), Path("models/recipevis/README.md"), model, scores)


if __name__ == "__main__":
    run("report", main)

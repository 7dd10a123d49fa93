"""Write what people look at: the page, the contact sheet, the plots and the scored model card."""

import json
from pathlib import Path
from typing import Any

import pandas as pd

from recipevis.config import Config
from recipevis.data.tables.samples import read_samples
from recipevis.report import contact_sheet, page, plots, scored_card
from stages import run

PLOTS = {"train": Path("plots/train.png"), "drift": Path("plots/drift.png")}


def main(config: Config) -> None:
    """Write all of it, from files alone."""
    samples, folder, strips = read_samples(Path("samples/samples.csv")), Path("samples"), config.evaluate.strips
    result = _json("reports/evaluation.json")
    plots.training_curve(pd.read_csv("plots/train.csv"), PLOTS["train"])
    plots.drift(pd.read_csv("plots/drift.csv"), PLOTS["drift"])
    contact_sheet.write(Path("reports/contact_sheet.png"), samples, folder, strips)
    page.write(
        Path("reports/index.html"),
        result=result,
        samples=samples,
        folder=folder,
        strips=strips,
        training=_json("models/trained/training.json"),
        dataset=_json("data/dataset.json"),
        survivors=_json("data/survivors.json"),
        plots=PLOTS,
    )
    fuser, card = result["experiment"]["fuser"], Path("models/recipevis/README.md")
    scored_card.write(Path("reports/model_card.md"), card, fuser, _json("metrics.json"))


def _json(path: str) -> Any:
    return json.loads(Path(path).read_text(encoding="utf-8"))


if __name__ == "__main__":
    run("report", main)

"""Fine-tune the UNet and train the fuser; write the model to `models/recipevis/` and its curve to `plots/`."""

from pathlib import Path

import pandas as pd

from recipevis.config import Config
from recipevis.core import files, processes
from recipevis.core.devices import device
from recipevis.data.tables.triplets import read_triplets
from recipevis.embeddings.writer import Embeddings
from recipevis.model.networks import Backbone
from recipevis.report import model_card
from recipevis.sampling.pipeline import assemble
from recipevis.training.history import thinned
from recipevis.training.trainer import new_conditioner, new_trainer
from stages import leads, publish, run, work_folder


def main(p: Config) -> None:
    """Train, or go on with an interrupted training, then save."""
    with work_folder("train", keep=True) as work:
        model, train, cycle, pixels = work / "recipevis", p.train, p.cycle, p.frames.pixels
        if not processes.launch("stages.train", train.processes, work):
            backbone = Backbone(Path("models/backbone"), device(p.device))
            table, cache = read_triplets(Path("data/triplets.csv")), Embeddings(Path("data/embeddings"))
            about = {"fuser": p.fuser, "fuser_hidden": p.fuser_hidden, "fuser_residual": p.fuser_residual}
            about |= {"condition_tokens": p.condition_tokens, "seed": p.seed}
            conditioner = new_conditioner(backbone, **about)
            trainer = new_trainer(backbone, conditioner, table, cache, train, cycle, pixels, p.seed)
            history = trainer.run(work)
            summary = trainer.summary(history)
            if trainer.writes:
                pipeline = assemble(backbone, conditioner, backbone.unet, pixels, p.frames.blank)
                pipeline.save_pretrained(model)
                files.write_json(model / "training.json", summary)
                history.to_csv(model / "history.csv", index=False, lineterminator="\n")
                about |= {"train": train.model_dump(exclude=train.HOW), "cycle": cycle.model_dump()}
                model_card.write(
                    model / "README.md",
                    training=summary,
                    triplets=table,
                    backbone=backbone.origin,
                    dataset=p.dataset.source,
                    dataset_licence="",
                    parameters=about,
                    sampling={},
                    uses_text=conditioner.sees[0],
                    uses_image=conditioner.sees[1],
                )
        if leads():
            publish("train", model, Path("models/recipevis"))
            table = thinned(pd.read_csv("models/recipevis/history.csv", float_precision="round_trip"))
            files.write_text(Path("plots/train.csv"), table.to_csv(index=False, lineterminator="\n"))


if __name__ == "__main__":
    run("train", main)

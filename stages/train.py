"""Fine-tune the UNet and train the fuser: write `models/trained/`."""

from pathlib import Path

from recipevis.config import Config
from recipevis.core import files, processes
from recipevis.core.devices import device
from recipevis.core.training_log import TrainingLog
from recipevis.data.tables.triplets import read_triplets
from recipevis.embeddings.reader import Embeddings
from recipevis.fusers.base import select_options
from recipevis.model import adapters
from recipevis.model.networks import Backbone
from recipevis.sampling.strip import strip_drawer
from recipevis.training.trainer import HISTORY, new_conditioner, new_trainer
from stages import leads, publish, run, work_folder

# Parameters that the model's card shows.
KEYS = {"fuser", "fuser_hidden", "fuser_residual", "fuser_options", "condition_tokens", "condition"}
KEYS |= {"previous_latent", "first_latent", "seed", "train", "cycle"}


def main(config: Config) -> None:
    """Train, or resume an interrupted training, then publish."""
    train, cycle = config.train, config.cycle
    common = {"hidden": config.fuser_hidden, "residual": config.fuser_residual}
    parameters = config.model_dump(include=KEYS, exclude={"train": train.HOW})
    with work_folder("train", keep=True) as work:
        model = work / "trained"
        if not processes.launch("stages.train", train.processes, work):
            backbone = Backbone(Path("models/backbone"), device(config.device))
            options = select_options(config.fuser, common, config.fuser_options)
            how = config.condition_tokens, config.seed, config.condition, config.previous_latent, config.first_latent
            conditioner = new_conditioner(backbone, config.fuser, options, *how)
            triplets, embeddings = read_triplets(Path("data/triplets.csv")), Embeddings(Path("data/embeddings"))
            trainer = new_trainer(
                backbone, conditioner, triplets, embeddings, train, cycle, config.frames.pixels, config.seed
            )
            shown = config.seed, config.frames.pixels, config.frames.blank, config.sample
            draw = strip_drawer(backbone, conditioner, triplets, *shown) if train.log_with else None
            log = TrainingLog(Path("logs/train.csv"), HISTORY, f"{config.fuser}-{work.name[:8]}", draw)
            history = trainer.run(work, log)
            summary = trainer.summary(history)
            if trainer.writes:
                conditioner.save_pretrained(model / "conditioner")
                if train.lora_rank:
                    adapters.save(backbone.unet, model / "lora")
                else:
                    backbone.unet.save_pretrained(model / "unet")
                files.write_json(model / "training.json", summary)
                files.write_json(model / "parameters.json", parameters)
                history.to_csv(model / "history.csv", index=False, lineterminator="\n")
        if leads():
            publish("train", model, Path("models/trained"))


if __name__ == "__main__":
    run("train", main)

"""Fine-tune the UNet and train the fuser; write the model to `models/recipevis/` and its curve to `plots/`."""

from pathlib import Path

from recipevis import batches, plots, store, training, triplets
from recipevis.backbone import Backbone, device
from recipevis.embeddings import Embeddings
from recipevis.parameters import Parameters
from recipevis.pipeline import assemble
from stages import run, work_folder


def main(p: Parameters) -> None:
    """Train, or go on with an interrupted training, then save."""
    backbone = Backbone(Path("models/backbone"), device(p.device))
    table, cache = triplets.read(Path("data/triplets.csv")), Embeddings(Path("data/embeddings"))
    scaling, timesteps = backbone.vae.config.scaling_factor, backbone.scheduler.config.num_train_timesteps
    by_subset = batches.by_subset(cache, table, scaling, timesteps, p.seed)
    conditioner = training.new_conditioner(
        backbone, p.fuser, p.fuser_hidden, p.fuser_residual, p.condition_tokens, p.seed
    )
    denoiser = training.Denoiser(conditioner, backbone.unet)
    cycle = training.new_cycle_loss(backbone, p.cycle, p.frames.pixels)
    trainer = training.Trainer(denoiser, backbone.scheduler, by_subset, p.train, backbone.device, cycle, p.cycle)
    with work_folder("train", keep=True) as work:
        history = trainer.run(work)
        model = work / "recipevis"
        assemble(backbone, denoiser.conditioner, denoiser.unet, p.frames.pixels, p.frames.blank).save_pretrained(model)
        store.write_json(model / "training.json", training.summary(history, trainer.validation_loss(), denoiser))
        history.to_csv(model / "history.csv", index=False, lineterminator="\n")
        store.publish(model, Path("models/recipevis"))
        curve = plots.thinned(history)
        store.write_text(Path("plots/train.csv"), curve.to_csv(index=False, lineterminator="\n"))
        plots.training_curve(history, Path("plots/train.png"))


if __name__ == "__main__":
    run("train", main)

"""Compare generating a batch of images with the networks' bare forward passes; compute the hours of Table 1.

    python benchmarks/sample.py --shapes kitchen
    python benchmarks/sample.py --shapes sd --step-seconds fusers.json --cycle-ratio 2.0

The two run in turn, round after round, in the same precision and batch; the ratio is that of the medians.

- ours: `Sampler.generate` on distinct sentences and previous images, from sentences to uint8 images;
- the bare forwards, which are the limit: the UNet at every step for every term of the guidance, one decode by the VAE
  and one pass of the image encoder, on tensors in memory.

Only shapes matter: `kitchen` takes the toy kitchen's networks, `tiny` and `sd` untrained ones, `sd` of Stable Diffusion
v1-4's shapes. Saving the images as PNG and scoring them are timed apart.

`--step-seconds` takes a file whose last line is that of `benchmarks/train.py --fusers`, `--cycle-ratio` the ratio that
`benchmarks/train.py --cycle` prints for `cycle.images`. With both, the hours of every row of the paper's Table 1 are
printed, and with `--gpu`, those that other cards would take.

The last line is a JSON object: `over_bare_forwards` is our time over the bare forwards'.
"""

import io
import json
import os
import tempfile
from pathlib import Path
from statistics import median
from typing import Annotated

import hours
import numpy as np
import torch
import typer
from diffusers import UNet2DConditionModel
from PIL import Image
from timing import in_turn
from torch.utils.flop_counter import FlopCounterMode

from recipevis.backbone import kitchen, random, untrained
from recipevis.config import Config, load
from recipevis.core import devices
from recipevis.core.parallel import in_order, threads
from recipevis.evaluation import metrics
from recipevis.fusers.base import select_options
from recipevis.model.latents import latent_shape
from recipevis.model.networks import Backbone
from recipevis.sampling.guidance import guidance_terms
from recipevis.sampling.pipeline import RecipePipeline, assemble
from recipevis.sampling.sampler import Sampler
from recipevis.training.trainer import new_conditioner

FILES = {"tiny": "params.yaml", "kitchen": "params.yaml", "sd": "params/paper.yaml"}
CONFIGS = {"tiny": "tiny", "sd": "stable-diffusion-v1-4"}
_FUSER = "attend_to_image"


def backbone_folder(shapes: str, folder: Path) -> Path:
    """The folder of the networks that are timed; untrained ones are written into `folder`."""
    if shapes == "kitchen":
        return kitchen.NETWORKS / "backbone"
    untrained.save(untrained.read(random.CONFIGS / CONFIGS[shapes]), folder)
    return folder


def new_pipeline(p: Config, networks: Backbone) -> RecipePipeline:
    """A pipeline of the networks with an untrained fuser."""
    options = select_options(_FUSER, {"hidden": p.fuser_hidden, "residual": p.fuser_residual}, {})
    conditioner = new_conditioner(networks, _FUSER, options, p.condition_tokens, p.seed)
    pipeline = assemble(networks, conditioner, networks.unet, p.frames.pixels, p.frames.blank)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


class Bare:
    """The forward passes of a batch on random tensors in memory.

    Args:
        pipeline: whose networks.
        batch: images.
        steps: of the sampler.
        terms: of the guidance.
        precision: of the UNet's autocast; the others are in fp32, as ours.
    """

    def __init__(self, pipeline: RecipePipeline, batch: int, steps: int, terms: int, precision: str):
        self.pipeline, self.steps, self.precision = pipeline, steps, precision
        vision, where = pipeline.image_encoder.config, {"device": pipeline.device}
        config = pipeline.conditioner.config
        latents = latent_shape(pipeline.vae.config, pipeline.config.pixels)
        self.latents = torch.randn(batch, *latents, **where)
        self.noisy = torch.randn(terms * batch, *latents, **where)
        self.tokens = torch.randn(terms * batch, config.condition_tokens, config.condition_width, **where)
        self.pixels = torch.randn(batch, 3, vision.image_size, vision.image_size, **where)
        self.timesteps = torch.linspace(900, 0, steps, **where).long()

    @torch.no_grad()
    def __call__(self) -> None:
        """All of them."""
        self.pipeline.image_encoder(self.pixels)
        with devices.autocast(self.pipeline.device, self.precision):
            for step in range(self.steps):
                self.pipeline.unet(self.noisy, self.timesteps[step], encoder_hidden_states=self.tokens)
        self.pipeline.vae.decode(self.latents)

    @torch.no_grad()
    def vision(self) -> None:
        """The image encoder's pass alone, as scoring takes it."""
        self.pipeline.image_encoder(self.pixels)


def main(
    shapes: Annotated[str, typer.Option(help="tiny, kitchen or sd.")] = "kitchen",
    device: Annotated[str, typer.Option(help="As the parameter device.")] = "auto",
    precision: Annotated[str | None, typer.Option(help="Default: sample.precision.")] = None,
    batch: Annotated[int | None, typer.Option(help="Images at once; default: sample.batch_size.", min=1)] = None,
    steps: Annotated[int | None, typer.Option(help="Default: sample.steps.", min=1)] = None,
    guidance: Annotated[float | None, typer.Option(help="Default: sample.guidance.", min=0)] = None,
    rounds: Annotated[int, typer.Option(help="Number of times that each variant is timed.", min=1)] = 5,
    step_seconds: Annotated[Path | None, typer.Option(help="Output of train.py --fusers.", exists=True)] = None,
    cycle_ratio: Annotated[float | None, typer.Option(help="From train.py --cycle.", min=1)] = None,
    gpu: Annotated[str | None, typer.Option(help=f"The card that is timed: {', '.join(hours.GPUS)}.")] = None,
    encoders: Annotated[int, typer.Option(help="Networks that measure each image.", min=0)] = 3,
) -> None:
    """Print tables, and a JSON object as the last line."""
    p = load(Path(FILES[shapes]))
    given = {"precision": precision, "batch_size": batch, "steps": steps, "guidance": guidance}
    s = p.sample.model_copy(update={key: value for key, value in given.items() if value is not None})
    terms = len(guidance_terms(s.guidance, s.guidance, True, True))
    with tempfile.TemporaryDirectory() as name:
        networks = Backbone(backbone_folder(shapes, Path(name) / "backbone"), devices.device(device))
        devices.check_sampling(networks.device, s.precision)
        pipeline = new_pipeline(p, networks)
        print(
            f"{shapes}: {networks.device}, {s.precision}, {s.batch_size} images, {s.steps} steps, {terms} passes each"
        )
        side, noise = p.frames.pixels, np.random.default_rng(0)
        previous = list(noise.integers(0, 256, (s.batch_size, side, side, 3), dtype=np.uint8))
        keys = [f"image {number}" for number in range(s.batch_size)]
        sampler = Sampler(pipeline, p.seed, s.steps, s.guidance, precision=s.precision)
        made: list[np.ndarray] = []

        def ours() -> None:
            made[:] = sampler.generate(keys, keys, previous)

        bare = Bare(pipeline, s.batch_size, s.steps, terms, s.precision)
        variants = {"bare forwards": bare, "ours": ours}
        taken = {name: median(list_) for name, list_ in in_turn(variants, networks.device, rounds).items()}
        after = in_turn(
            {
                "save as PNG": lambda: [Image.fromarray(image).save(io.BytesIO(), "png") for image in made],
                "image metrics": lambda: score(made, previous),
                "an encoder": bare.vision,
            },
            networks.device,
            rounds,
        )
        taken |= {name: median(list_) for name, list_ in after.items()}
        print("| | s a batch | ms an image | images a second |", "|---|---:|---:|---:|", sep="\n")
        for variant, seconds in taken.items():
            per_image = seconds / s.batch_size
            print(f"| {variant} | {seconds:.4g} | {1000 * per_image:.3g} | {1 / per_image:.3g} |")
        one, native = (_flops(networks, pixels) for pixels in (side, _native_pixels(networks)))
        rate = s.batch_size * s.steps * terms * one / taken["bare forwards"] / 1e12
        print(f"the UNet takes {one / 1e9:.3g} GFLOP a forward pass of an image; bare, it runs at {rate:.3g} TFLOP/s")
    if step_seconds and cycle_ratio:
        image, score_ = (sum(taken[name] for name in names) / s.batch_size for names in (["ours"], ["image metrics"]))
        score_ += encoders * taken["an encoder"] / s.batch_size
        of_fusers = json.loads(step_seconds.read_text(encoding="utf-8").strip().splitlines()[-1])
        costs = hours.Costs(of_fusers, cycle_ratio, image, image * native / one, score_)
        _print_hours(costs, p.train.steps, gpu)
    print(json.dumps({"over_bare_forwards": round(taken["ours"] / taken["bare forwards"], 3)}))


def score(generated: list[np.ndarray], truth: list[np.ndarray]) -> list[list[float]]:
    """The metrics of image pairs, on as many threads as the stage `evaluate` uses."""
    functions = [metric.function for metric in metrics.named().values() if metric.kind == "pair"]
    pairs = list(zip(generated, truth, strict=True))
    return list(in_order(lambda pair: [function(*pair) for function in functions], pairs, threads("cpu")))


def _native_pixels(networks: Backbone) -> int:
    """Height and width of the images that the backbone was trained on."""
    return networks.unet.config.sample_size * 2 ** (len(networks.vae.config.block_out_channels) - 1)


def _flops(networks: Backbone, pixels: int) -> int:
    """Operations of the UNet's forward pass for one image; a multiplication and an addition are two."""
    with torch.device("meta"), torch.no_grad(), FlopCounterMode(display=False) as counter:
        unet = UNet2DConditionModel.from_config(networks.unet.config)
        tokens = torch.empty(1, 3, unet.config.cross_attention_dim)
        latents = torch.empty(1, *latent_shape(networks.vae.config, pixels))
        unet(latents, torch.empty(1, dtype=torch.long), encoder_hidden_states=tokens)
    return counter.get_total_flops()


def _print_hours(costs: hours.Costs, training_steps: int, gpu: str | None) -> None:
    rows = list(hours.of_rows(costs, training_steps))
    print("| row | training, h | sampling, h | scoring, h | all, h |", "|---|---:|---:|---:|---:|", sep="\n")
    for row in [*rows, hours.summed(rows)]:
        print(f"| {row.name} | {row.training:.2f} | {row.sampling:.2f} | {row.scoring:.2f} | {row.total:.2f} |")
    if gpu:
        for name, other in hours.GPUS.items():
            total = hours.summed([hours.on_another(row, hours.GPUS[gpu], other) for row in rows])
            share = total.sampling / total.total
            print(f"{'measured' if name == gpu else 'computed'} for {name}: {total.total:.1f} h, {share:.0%} sampling")


if __name__ == "__main__":
    # Large networks on a CPU want all cores, the others one thread; the environment decides.
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", torch.get_num_threads())))
    typer.run(main)

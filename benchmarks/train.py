"""Compare a training step with the bare step and with encoding on the fly; time L_cyc and each fuser.

    python benchmarks/train.py --shapes demo
    python benchmarks/train.py --shapes sd --rounds 5

The variants run in turn, round after round, with the fuser `attend_to_image` and the same precision, batch and
optimizer. The ratios are those of the medians.

- ours: `Trainer.step` on batches that `Trainer.loaded` reads from the embeddings, as in `Trainer.run`;
- the bare step, which is the limit: fuser and UNet forward and backward, gradient clipping where it is configured, and
  AdamW, on tensors in memory;
- on the fly: the bare step after reading the images and encoding sentence, previous image and image, without gradient.

`over_bare_step` is our time over the bare step's, `vs_on_the_fly` the time on the fly over ours, and `data_over_step`
the time of loading alone over our step's. Only shapes matter: `demo` takes the toy kitchen's networks, `sd` untrained
ones of Stable Diffusion v1-4's shapes, and the embeddings are random. On a CPU `sd` takes two images in bf16 and 20 GiB
of memory. `--fusers` and `--cycle` print tables instead.

The last line is a JSON object.
"""

import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import random_embeddings
import torch
import typer
from diffusers import UNet2DConditionModel
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from recipevis import images
from recipevis.backbone import kitchen, random, untrained
from recipevis.cli.fusers import count_all
from recipevis.cli.probe import peak_gib
from recipevis.config import FUSERS, Config, load
from recipevis.core.devices import device
from recipevis.data.frames import square
from recipevis.embeddings.reader import Embeddings
from recipevis.fusers.base import select_options
from recipevis.model import schedule
from recipevis.model.conditions import StepEmbeddings
from recipevis.model.configuration import read_configuration
from recipevis.model.latents import LatentScaling, latent_shape
from recipevis.model.networks import Backbone, encode_images, encode_sentences
from recipevis.model.shapes import fuser_shapes
from recipevis.training import trainer
from recipevis.training.batches import Batch

FILES = {"demo": "params.yaml", "sd": "params/paper.yaml"}
Step = Callable[[], object]


def backbone_folder(shapes: str, folder: Path) -> Path:
    """The folder of the networks that are timed; untrained ones are written into `folder`."""
    if shapes == "demo":
        return kitchen.NETWORKS / "backbone"
    untrained.save(untrained.read(random.CONFIGS / "stable-diffusion-v1-4"), folder)
    return folder


class Bench:
    """The networks, random embeddings of their shapes, and a trainer of one fuser."""

    def __init__(self, parameters: Config, networks: Backbone, folder: Path, fuser: str, batch: int):
        p, self.networks, self.batch = parameters, networks, batch
        if not (cache := folder / "embeddings").is_dir():
            random_embeddings.write(networks, p.condition_tokens, p.frames.pixels, cache)
        self.settings = p.train.model_copy(update={"batch_size": batch, "processes": 1, "accumulation": 1})
        options = select_options(fuser, {"hidden": p.fuser_hidden, "residual": p.fuser_residual}, {})
        conditioner = trainer.new_conditioner(networks, fuser, options, p.condition_tokens, p.seed)
        cycle = p.cycle.model_copy(update={"weight": p.cycle.weight or 1.0})
        triplets = random_embeddings.triplets()
        self.trainer = trainer.new_trainer(
            networks, conditioner, triplets, Embeddings(cache), self.settings, cycle, p.frames.pixels, p.seed
        )
        self.scheduler = schedule.load_scheduler(networks.folder / "scheduler")

    def part(self, step: int) -> Batch:
        """A batch from the embeddings."""
        [(batch, _)] = self.trainer.load(step)
        return batch

    def ours(self, steps: int) -> None:
        """Steps as `Trainer.run` takes them, without L_cyc."""
        for [(batch, _)] in self.trainer.loaded(0, steps):
            losses, _ = self.trainer.step([(batch, None)])
        losses.tolist()

    def bare(self, batch: Batch) -> None:
        """One step on tensors in memory."""
        denoiser, scheduler, optimizer = self.trainer.denoiser, self.scheduler, self.trainer.optimizer
        with self.autocast():
            noisy = schedule.add_noise(scheduler, batch.latents, batch.noise, batch.timesteps)
            prediction = denoiser(noisy, batch.timesteps, batch.embeddings).float()
            target = schedule.target(scheduler, batch.latents, batch.noise, batch.timesteps)
            loss = torch.nn.functional.mse_loss(prediction, target)
        loss.backward()
        if self.settings.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(denoiser.parameters(), self.settings.gradient_clip)
        optimizer.step()
        optimizer.zero_grad()

    def autocast(self):
        """Autocast in the configured precision."""
        kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.settings.precision)
        return torch.autocast(self.networks.device.type, kind) if kind else nullcontext()

    @torch.no_grad()
    def encoded(self, pictures: list[Path], like: Batch) -> Batch:
        """A batch whose embeddings and latents are computed now, from sentences and image files."""
        networks, sentences = self.networks, ["chop the onions and fry them in the pan"] * self.batch
        read = [images.read(path) for path in pictures]  # the images, then the previous images
        with self.autocast():
            text = encode_sentences(networks.text_encoder, networks.tokenizer, sentences)
            previous = encode_images(networks.clip.vision_model, networks.processor, read[self.batch :])
            pixels = images.to_vae(read[: self.batch]).to(networks.device)
            latents = LatentScaling(networks.vae.config).scale(networks.vae.encode(pixels).latent_dist.sample())
        embeddings = StepEmbeddings(*text, *previous).to(torch.float32)
        return Batch(embeddings, like.text_projected, latents.float(), like.noise, like.timesteps)


def main(
    shapes: Annotated[str, typer.Option(help="demo or sd.")] = "demo",
    rounds: Annotated[int, typer.Option(help="Number of times that each variant is timed.", min=1)] = 7,
    batch: Annotated[
        int | None, typer.Option(help="Images a step; default: the parameter file's, 2 for sd on a CPU.")
    ] = None,
    fusers: Annotated[bool, typer.Option("--fusers", help="Time every fuser instead.")] = False,
    hidden: Annotated[int | None, typer.Option(help="fuser_hidden; default: the parameter file's.")] = None,
    peak_tflops: Annotated[
        float | None, typer.Option(help="The device's peak, to print the share of it.", min=1)
    ] = None,
    cycle: Annotated[bool, typer.Option("--cycle", help="Time the cycle loss instead.")] = False,
) -> None:
    """Print a table, and a JSON object as the last line."""
    p = load(Path(FILES[shapes]))
    p = p.model_copy(update={"fuser_hidden": hidden or p.fuser_hidden})
    with tempfile.TemporaryDirectory() as name:
        networks = Backbone(backbone_folder(shapes, Path(name) / "backbone"), device(p.device))
        small = shapes == "sd" and networks.device.type != "cuda"
        batch = batch or (2 if small else p.train.batch_size)
        print(f"{shapes}: {networks.device}, {p.train.precision}, {batch} images, fuser_hidden {p.fuser_hidden}")
        compare = partial(_fusers, peak_tflops) if fusers else _cycle if cycle else _steps
        result = compare(p, networks, Path(name), batch, rounds)
    print(json.dumps(result))


def _steps(p: Config, networks: Backbone, folder: Path, batch: int, rounds: int) -> dict[str, float]:
    bench, noise = Bench(p, networks, folder, "attend_to_image", batch), np.random.default_rng(0)
    loaded = bench.part(0).to(networks.device)
    pictures = [folder / f"{number}.png" for number in range(2 * batch)]
    for path in pictures:
        levels = noise.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        square(Image.fromarray(levels), p.frames.pixels, "squash").save(path)
    inner = 1 if batch <= 2 else 10  # steps at a time
    variants: dict[str, Step] = {
        "ours": lambda: bench.ours(inner),
        "bare step": lambda: [bench.bare(loaded) for _ in range(inner)],
        "on the fly": lambda: [bench.bare(bench.encoded(pictures, loaded)) for _ in range(inner)],
        "data path alone": lambda: [bench.part(step) for step in range(inner)],
    }
    taken = _in_turn(variants, networks, rounds)
    seconds = {name: median(list_) / inner for name, list_ in taken.items()}
    _print("variant", {name: (value, value / seconds["ours"]) for name, value in seconds.items()})
    return {
        "over_bare_step": round(seconds["ours"] / seconds["bare step"], 3),
        "vs_on_the_fly": round(seconds["on the fly"] / seconds["ours"], 3),
        "data_over_step": round(seconds["data path alone"] / seconds["ours"], 5),
    }


def _cycle(p: Config, networks: Backbone, folder: Path, batch: int, rounds: int) -> dict[str, float]:
    """Time of a step by the number of images that L_cyc is computed on."""
    bench = Bench(p, networks, folder, "attend_to_image", batch)
    part = bench.part(0)

    def step(count: int) -> None:
        weights = torch.cat([torch.ones(count), torch.zeros(batch - count)]) / batch
        bench.trainer.step([(part, weights if count else None)])

    counts = sorted({0, *(count for count in (1, 2, 4, 8, batch) if count <= batch)})
    taken = _in_turn({str(count): (lambda count=count: step(count)) for count in counts}, networks, rounds)
    seconds = {name: median(list_) for name, list_ in taken.items()}
    _print("images of L_cyc", {name: (value, value / seconds["0"]) for name, value in seconds.items()})
    return {name: round(value / seconds["0"], 3) for name, value in seconds.items()}


def _fusers(
    peak_tflops: float | None, p: Config, networks: Backbone, folder: Path, batch: int, rounds: int
) -> dict[str, float]:
    """Seconds a step and peak memory of every fuser, each in a process of its own."""
    seconds, flops = {}, _flops(p, networks)
    shapes = fuser_shapes(networks.folder, networks.folder / "clip", p.condition_tokens)
    weights = {row.name: row.weights for row in count_all(p, shapes)}
    print(f"the UNet takes {flops / 1e9:.3g} GFLOP an image, forward and backward; TFLOP/s are its own")
    print("| fuser | weights | s a step | images a second | TFLOP/s | of the peak | GiB at most |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for fuser in FUSERS:
        with multiprocessing.get_context("spawn").Pool(1) as process:
            seconds[fuser], gib = process.apply(_fuser, (p, networks.folder, folder, fuser, batch, rounds))
        rate = batch / seconds[fuser]
        tflops = rate * flops / 1e12
        share = f"{tflops / peak_tflops:.0%}" if peak_tflops else "–"
        figures = (f"{seconds[fuser]:.3g}", f"{rate:.3g}", f"{tflops:.3g}", share, f"{gib:.2f}")
        print(f"| `{fuser}` | {weights[fuser]:,} | {' | '.join(figures)} |", flush=True)
    return {fuser: round(value, 4) for fuser, value in seconds.items()}


def _flops(p: Config, networks: Backbone) -> int:
    """Operations of the UNet's forward and backward pass for one image; a multiplication and an addition are two."""
    shape = latent_shape(read_configuration(networks.folder / "vae"), p.frames.pixels)
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(networks.folder / "unet"))
        condition = torch.empty(1, p.condition_tokens, unet.config.cross_attention_dim)
        latents, timestep = torch.empty(1, *shape), torch.empty(1, dtype=torch.long)
        unet(latents, timestep, encoder_hidden_states=condition).sample.sum().backward()
    return counter.get_total_flops()


def _fuser(p: Config, folder: Path, work: Path, fuser: str, batch: int, rounds: int) -> tuple[float, float]:
    """Median seconds of a step, and the process's peak memory, GiB."""
    networks = Backbone(folder, device(p.device))
    bench = Bench(p, networks, work, fuser, batch)
    part = bench.part(0)
    seconds = _in_turn({fuser: lambda: bench.trainer.step([(part, None)])}, networks, max(3, rounds))[fuser]
    return median(seconds), peak_gib(networks.device)


def _in_turn(variants: dict[str, Step], networks: Backbone, rounds: int) -> dict[str, list[float]]:
    """Seconds of each variant in each round. Each round starts with another one; the first round is not kept."""
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(rounds + 1):
        turn = [*variants.items()]
        for name, step in turn[number % len(turn) :] + turn[: number % len(turn)]:
            start = time.perf_counter()
            step()
            if networks.device.type == "cuda":
                torch.cuda.synchronize()
            if number:
                taken[name].append(time.perf_counter() - start)
    return taken


def _print(label: str, rows: dict[str, tuple[float, float]]) -> None:
    print(f"| {label} | ms a step | times the first |\n|---|---:|---:|")
    for name, (seconds, ratio) in rows.items():
        print(f"| {name} | {1000 * seconds:.1f} | {ratio:.3f} |")


if __name__ == "__main__":
    typer.run(main)

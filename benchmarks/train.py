"""A training step ours against the bare step and against encoding on the fly; what L_cyc and each fuser cost.

    python benchmarks/train.py --shapes demo
    python benchmarks/train.py --shapes sd --rounds 5

What is compared runs in turn, round after round, with the fuser `attend_to_image`, the same precision, batch and
optimizer; the ratios are those of the medians.

- ours: `Trainer.step` on batches that `Trainer.loaded` reads from the cache, as in `Trainer.run`;
- the bare step, the limit: fuser and UNet forward, backward, gradient clipping where it is configured, and AdamW, on
  tensors in memory;
- on the fly: the bare step after reading the pictures and encoding sentence, previous picture and picture, the
  encoders without gradient.

`over_bare_step` is our time over the bare step's, `vs_on_the_fly` the time on the fly over ours, `data_over_step` the
data path's time alone over our step's. The networks are untrained where there are none (`recipevis.stand_ins`): only
shapes matter. On a CPU `sd` takes two images in bf16 and 20 GiB of memory. `--fusers` and `--cycle` print tables
instead.

Last line: one JSON object.
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
import torch
import typer
from diffusers import UNet2DConditionModel
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from recipevis import images
from recipevis.cli import fuser_costs, probe, stand_ins
from recipevis.config import FUSERS, Config, load
from recipevis.core.devices import device
from recipevis.data.frames import square
from recipevis.embeddings.writer import Embeddings
from recipevis.model import schedule
from recipevis.model.conditions import Embedded
from recipevis.model.networks import Backbone, encode_images, encode_sentences
from recipevis.training import trainer
from recipevis.training.batches import Batch

FILES = {"demo": "params.yaml", "sd": "params/paper.yaml"}
Step = Callable[[], object]


class Bench:
    """The configured networks, random embeddings of their shapes, and a trainer of one fuser."""

    def __init__(self, parameters: Config, networks: Backbone, folder: Path, fuser: str, batch: int):
        p, self.networks, self.batch = parameters, networks, batch
        if not (cache := folder / "embeddings").is_dir():
            stand_ins.embeddings(networks, p.condition_tokens, p.frames.pixels, cache)
        table = stand_ins.triplets()
        self.settings = p.train.model_copy(update={"batch_size": batch, "processes": 1, "accumulation": 1})
        conditioner = trainer.new_conditioner(
            networks, fuser, p.fuser_hidden, p.fuser_residual, p.condition_tokens, p.seed
        )
        cycle = p.cycle.model_copy(update={"weight": p.cycle.weight or 1.0})
        self.trainer = trainer.new_trainer(
            networks, conditioner, table, Embeddings(cache), self.settings, cycle, p.frames.pixels, p.seed
        )

    def part(self, step: int) -> Batch:
        """A batch from the cache."""
        [(batch, _)] = self.trainer.load(step)
        return batch

    def ours(self, steps: int) -> None:
        """Steps from the cache, as `Trainer.run` takes them, without L_cyc."""
        for [(batch, _)] in self.trainer.loaded(0, steps):
            told, _ = self.trainer.step([(batch, None)])
        told.tolist()

    def bare(self, batch: Batch) -> None:
        """One step on tensors that are there."""
        denoiser, scheduler, optimizer = self.trainer.denoiser, self.networks.scheduler, self.trainer.optimizer
        with self.autocast():
            noisy = scheduler.add_noise(batch.latents, batch.noise, batch.timesteps)
            prediction = denoiser(noisy, batch.timesteps, batch.embedded).float()
            wanted = schedule.target(scheduler, batch.latents, batch.noise, batch.timesteps)
            loss = torch.nn.functional.mse_loss(prediction, wanted)
        loss.backward()
        if self.settings.gradient_clip is not None:
            torch.nn.utils.clip_grad_norm_(denoiser.parameters(), self.settings.gradient_clip)
        optimizer.step()
        optimizer.zero_grad()

    def autocast(self):
        """Of the configured precision."""
        kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.settings.precision)
        return torch.autocast(self.networks.device.type, kind) if kind else nullcontext()

    @torch.no_grad()
    def encoded(self, pictures: list[Path], like: Batch) -> Batch:
        """A batch whose embeddings and latents are made now, from sentences and files."""
        networks, sentences = self.networks, ["chop the onions and fry them in the pan"] * self.batch
        read = [images.read(str(path)) for path in pictures]  # the pictures, then the ones before
        with self.autocast():
            text = encode_sentences(networks.text_encoder, networks.tokenizer, sentences)
            seen = encode_images(networks.clip.vision_model, networks.processor, read[self.batch :])
            pixels = images.to_vae(read[: self.batch]).to(networks.device)
            latents = networks.vae.encode(pixels).latent_dist.sample() * networks.vae.config.scaling_factor
        embedded = Embedded(*text, *seen).to(torch.float32)
        return Batch(embedded, like.text_projected, latents.float(), like.noise, like.timesteps)


def main(
    shapes: Annotated[str, typer.Option(help="demo or sd.")] = "demo",
    rounds: Annotated[int, typer.Option(help="Times that each is timed.", min=1)] = 7,
    batch: Annotated[int | None, typer.Option(help="Images a step; not given: the demo's, 2 or 32 for sd.")] = None,
    fusers: Annotated[bool, typer.Option("--fusers", help="Time every fuser instead.")] = False,
    hidden: Annotated[int | None, typer.Option(help="fuser_hidden; not given: as configured.")] = None,
    peak_tflops: Annotated[float | None, typer.Option(help="The device's peak, for the share of it.", min=1)] = None,
    cycle: Annotated[bool, typer.Option("--cycle", help="Time the cycle loss instead.")] = False,
) -> None:
    """Compare, print a table, and last a line of JSON."""
    p = load(Path(FILES[shapes]))
    p = p.model_copy(update={"fuser_hidden": hidden or p.fuser_hidden})
    with stand_ins.backbone(p) as networks, tempfile.TemporaryDirectory() as name:
        small = shapes == "sd" and networks.device.type != "cuda"
        batch = batch or (2 if small else p.train.batch_size)
        print(f"{shapes}: {networks.device}, {p.train.precision}, {batch} images, fuser_hidden {p.fuser_hidden}")
        compare = partial(_fusers, peak_tflops) if fusers else _cycle if cycle else _steps
        result = compare(p, networks, Path(name), batch, rounds)
    print(json.dumps(result))


def _steps(p: Config, networks: Backbone, folder: Path, batch: int, rounds: int) -> dict[str, float]:
    bench, random = Bench(p, networks, folder, "attend_to_image", batch), np.random.default_rng(0)
    there = bench.part(0).to(networks.device)
    pictures = [folder / f"{number}.png" for number in range(2 * batch)]
    for path in pictures:
        levels = random.integers(0, 256, (8, 8, 3), dtype=np.uint8)
        square(Image.fromarray(levels), p.frames.pixels, "squash").save(path)
    inner = 1 if batch <= 2 else 10  # steps at a time
    ways: dict[str, Step] = {
        "ours": lambda: bench.ours(inner),
        "bare step": lambda: [bench.bare(there) for _ in range(inner)],
        "on the fly": lambda: [bench.bare(bench.encoded(pictures, there)) for _ in range(inner)],
        "data path alone": lambda: [bench.part(step) for step in range(inner)],
    }
    taken = _in_turn(ways, networks, rounds)
    seconds = {name: median(list_) / inner for name, list_ in taken.items()}
    _print("way", {name: (value, value / seconds["ours"]) for name, value in seconds.items()})
    return {
        "over_bare_step": round(seconds["ours"] / seconds["bare step"], 3),
        "vs_on_the_fly": round(seconds["on the fly"] / seconds["ours"], 3),
        "data_over_step": round(seconds["data path alone"] / seconds["ours"], 5),
    }


def _cycle(p: Config, networks: Backbone, folder: Path, batch: int, rounds: int) -> dict[str, float]:
    """What L_cyc on so many images of the batch makes of a step's time."""
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
    seconds, listed, flops = {}, {row.name: row for row in fuser_costs.all_fusers(p)}, _flops(p, networks)
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
        print(f"| `{fuser}` | {listed[fuser].weights:,} | {' | '.join(figures)} |", flush=True)
    return {fuser: round(value, 4) for fuser, value in seconds.items()}


def _flops(p: Config, networks: Backbone) -> int:
    """Operations of the UNet's forward and backward pass for one image; a multiplication and an addition are two."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        unet = UNet2DConditionModel.from_config(UNet2DConditionModel.load_config(networks.folder / "unet"))
        condition = torch.empty(1, p.condition_tokens, unet.config.cross_attention_dim)
        latents, timestep = torch.empty(1, *networks.latent_shape(p.frames.pixels)), torch.empty(1, dtype=torch.long)
        unet(latents, timestep, encoder_hidden_states=condition).sample.sum().backward()
    return counter.get_total_flops()


def _fuser(p: Config, made: Path, folder: Path, fuser: str, batch: int, rounds: int) -> tuple[float, float]:
    """Median seconds of a step and GiB at most."""
    networks = Backbone(made, device(p.device))
    bench = Bench(p, networks, folder, fuser, batch)
    part = bench.part(0)
    taken = probe.measured(lambda: bench.trainer.step([(part, None)]), networks.device, max(3, rounds))
    return taken.seconds, taken.gib


def _in_turn(ways: dict[str, Step], networks: Backbone, rounds: int) -> dict[str, list[float]]:
    """Seconds of each, round after round, each round begun with another; the first, cold round isn't kept."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        turn = [*ways.items()]
        for name, way in turn[number % len(turn) :] + turn[: number % len(turn)]:
            start = time.perf_counter()
            way()
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

"""Compare the image metrics, as the stage `evaluate` computes them, with scikit-image's, one image after the other.

    python benchmarks/metrics.py

Both compute PSNR and SSIM in both windows for the same pairs of images, in turn, round after round: ours on as many
threads as the stage uses, at most `--cores`; scikit-image on one. Set OMP_NUM_THREADS=1, as the stages do. On a busy
machine, use the CPU seconds, which are printed beside.

The last line is a JSON object: `vs_scikit_image` is scikit-image's time over ours, and `max_difference` the largest
difference of a value, in dB or of an SSIM.
"""

import json
import time
from statistics import median
from typing import Annotated

import numpy as np
import skimage.metrics
import typer
from PIL import Image

from recipevis.core.parallel import in_order, threads
from recipevis.evaluation import metrics

Pair = tuple[np.ndarray, np.ndarray]  # generated and truth, uint8 [h, w, 3]
NAMES = ("psnr", "ssim", "ssim_uniform")


def pairs(count: int, pixels: int) -> list[Pair]:
    """Pictures with smooth shapes and grain, each beside another with some of its shapes."""
    random, made = np.random.default_rng(0), []

    def picture(coarse: np.ndarray) -> np.ndarray:
        smooth = Image.fromarray(coarse).resize((pixels, pixels), Image.Resampling.BICUBIC)
        return np.clip(np.asarray(smooth) + random.normal(0, 8, (pixels, pixels, 3)), 0, 255).astype(np.uint8)

    for _ in range(count):
        first, second = random.integers(0, 128, (2, 16, 16, 3), dtype=np.uint8)
        made.append((picture(first + second), picture(2 * first)))
    return made


def ours(several: list[Pair], cores: int) -> np.ndarray:
    """Our values, [n, 3]."""
    functions = [metrics.named()[name].function for name in NAMES]
    return np.array(list(in_order(lambda pair: [function(*pair) for function in functions], several, cores)))


def theirs(several: list[Pair]) -> np.ndarray:
    """scikit-image's values, [n, 3]."""
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    values = []
    for generated, truth in several:
        similarity = [
            skimage.metrics.structural_similarity(truth, generated, channel_axis=-1, data_range=255, **options)
            for options in (gaussian, {})
        ]
        values.append([skimage.metrics.peak_signal_noise_ratio(truth, generated, data_range=255), *similarity])
    return np.array(values)


def main(
    count: Annotated[int, typer.Option(help="Image pairs.", min=1)] = 64,
    pixels: Annotated[int, typer.Option(help="Height and width of an image.", min=16)] = 256,
    cores: Annotated[int, typer.Option(help="Most threads of ours.", min=1)] = 2,
    rounds: Annotated[int, typer.Option(help="Number of times that each is timed.", min=1)] = 7,
) -> None:
    """Print a table, and a JSON object as the last line."""
    several, cores = pairs(count, pixels), min(cores, threads("cpu"))
    variants = {"ours": lambda: ours(several, cores), "scikit-image": lambda: theirs(several)}
    values = {name: compute() for name, compute in variants.items()}  # this first round isn't timed
    taken = {name: [] for name in variants}
    for number in range(rounds):
        for name in sorted(variants, reverse=number % 2 == 1):
            wall, cpu = time.perf_counter(), time.process_time()
            variants[name]()
            taken[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    walls, cpus = ({name: median(pair[part] for pair in list_) for name, list_ in taken.items()} for part in (0, 1))
    print(f"{count} pairs of {pixels} x {pixels} pixels, {cores} threads of ours, one of scikit-image")
    print("| | ms a pair | CPU ms a pair |", "|---|---:|---:|", sep="\n")
    for name in variants:
        print(f"| {name} | {1000 * walls[name] / count:.2f} | {1000 * cpus[name] / count:.2f} |")
    ratio = walls["scikit-image"] / walls["ours"]
    difference = float(np.abs(values["ours"] - values["scikit-image"]).max())
    print(json.dumps({"vs_scikit_image": round(ratio, 3), "max_difference": difference}))


if __name__ == "__main__":
    typer.run(main)

"""Generate the benchmark's images with an InstructPix2Pix that diffusers' own trainer has trained on our export.

    make peer

It stands for any other system: it reads the export alone, and writes what `recipevis score` takes.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer
from diffusers import StableDiffusionInstructPix2PixPipeline
from PIL import Image

from recipevis.core.progress import track


def main(
    model: Annotated[Path, typer.Option(help="the trained pipeline")] = Path("build/peer/model"),
    export: Annotated[Path, typer.Option(help="folder that `recipevis export` wrote")] = Path("build/peer/export"),
    out: Annotated[Path, typer.Option(help="folder for the images")] = Path("build/peer/images"),
    steps: Annotated[int, typer.Option(help="sampling steps")] = 3,
    guidance: Annotated[float, typer.Option(help="guidance scale of the sentence")] = 1.0,
    image_guidance: Annotated[float, typer.Option(help="guidance scale of the image")] = 1.0,
) -> None:
    """Write `autoregressive/` and `teacher_forced/` with an image a step."""
    pipeline = StableDiffusionInstructPix2PixPipeline.from_pretrained(model)
    pipeline.set_progress_bar_config(disable=True)
    recipes = pd.read_csv(export / "recipes.csv", dtype={"video_id": str, "sample_id": str})
    blank = Image.open(export / "train" / "blank.png").convert("RGB")

    def generate(sentence: str, image: Image.Image, sample_id: str) -> Image.Image:
        generator = torch.Generator().manual_seed(int.from_bytes(sample_id.encode(), "little") % 2**63)
        return pipeline(
            sentence,
            image=image,
            num_inference_steps=steps,
            guidance_scale=guidance,
            image_guidance_scale=image_guidance,
            generator=generator,
        ).images[0]

    for mode in ("autoregressive", "teacher_forced"):
        (out / mode).mkdir(parents=True, exist_ok=True)
    previous = blank
    for row in track(recipes.itertuples(), "autoregressive", len(recipes)):
        previous = generate(row.sentence, blank if row.step == 0 else previous, row.sample_id)
        previous.save(out / "autoregressive" / f"{row.sample_id}.png")
    truth = pd.read_json(
        export / "validation" / "metadata.jsonl", lines=True, dtype={"video_id": str, "sample_id": str}
    )
    for row in track(truth.itertuples(), "teacher-forced", len(truth)):
        before = Image.fromarray(
            np.asarray(Image.open(export / "validation" / row.input_image_file_name).convert("RGB"))
        )
        image = generate(row.edit_prompt, before, row.sample_id)
        image.save(out / "teacher_forced" / f"{row.sample_id}.png")


if __name__ == "__main__":
    typer.run(main)

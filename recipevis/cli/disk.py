"""How much disk a run takes: what each stage writes, and where. Computed, not measured."""

from collections.abc import Sequence
from dataclasses import dataclass

from recipevis.config import Config
from recipevis.data.tables.recipes import SUBSETS, Recipe
from recipevis.fusers.base import Shapes, count_weights, hidden_width

GIB = 2**30
PROJECT, HOME, HUB = "the project", "RECIPEVIS_HOME", "the hub's cache"
# Weights of the published networks: UNet, VAE, text encoder of Stable Diffusion v1-4; CLIP ViT-L/14.
PUBLISHED = {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480, "clip": 427_616_513}
YOUCOOK2 = {"training": (1_333, 10_337), "validation": (457, 3_492)}  # videos, steps
_VIDEO_BYTES = {"kitchen": 0.2e6, "local": 0, "youtube": 13.4e6}  # local: links; youtube: five minutes at 360 lines
_FRAME_BYTES = 1.6  # a pixel, PNG
_DRAWN = 5  # sets of pictures that `sample` writes


@dataclass(frozen=True)
class Share:
    """What one stage writes to one place, GiB. `place` is `PROJECT`, `HOME` or `HUB`."""

    stage: str
    place: str
    gib: float


def needed(parameters: Config, recipes: Sequence[Recipe] | None = None) -> list[Share]:
    """What each stage writes, in the stages' order.

    Args:
        parameters: of the run.
        recipes: the run's; None: not at hand, and taken to be as many and as long as YouCook2's.
    """
    published = parameters.backbone.source in ("hub", "folder")
    by_subset = steps(parameters, recipes)
    videos, frames = sum(map(len, by_subset.values())), sum(map(sum, by_subset.values()))
    drawn = _DRAWN * sum(by_subset["validation"][: parameters.sample.recipes])
    # Small networks: as the kitchen's. Tokens and latents are fp16, weights and AdamW's moments fp32.
    tokens = parameters.condition_tokens
    shapes = Shapes(77, 768, 257, 1024, tokens, 768) if published else Shapes(40, 64, 65, 64, tokens, 64)
    text, image = shapes.text_tokens * shapes.text_width, shapes.image_tokens * shapes.image_width
    fuser = count_weights(parameters.fuser, shapes, hidden_width(parameters.fuser, shapes, parameters.fuser_hidden))
    unet = PUBLISHED["unet"] if published else 3.4e6
    weights = sum(PUBLISHED.values()) if published else unet + 2e6
    latents = 2 * 4 * (parameters.frames.pixels // 8) ** 2
    picture = parameters.frames.pixels**2 * _FRAME_BYTES
    kept = 3 if parameters.train.ema is None else 4  # the weights, two moments, perhaps an average
    written = [
        ("download", HOME, videos * _VIDEO_BYTES[parameters.dataset.source]),
        ("frames", PROJECT, frames * picture),
        ("backbone", PROJECT, 4 * weights),
        *([("backbone", HUB, 4 * weights)] if parameters.backbone.source == "hub" else []),
        ("embed", PROJECT, 2 * frames * (text + image + latents)),
        ("train", PROJECT, 4 * (weights + fuser)),
        ("train", HOME, 2 * kept * 4 * (unet + fuser)),  # two checkpoints while one is saved
        ("sample", PROJECT, drawn * picture),
    ]
    return [Share(stage, place, taken / GIB) for stage, place, taken in written]


def steps(parameters: Config, recipes: Sequence[Recipe] | None) -> dict[str, list[float]]:
    """For each subset the number of steps of each of its videos; `recipes` as for `needed`."""
    if recipes is not None:
        return {subset: [len(r.steps) for r in recipes if r.subset == subset] for subset in SUBSETS}
    return {
        subset: [total / videos] * min(videos, parameters.dataset.limit or videos)
        for subset, (videos, total) in YOUCOOK2.items()
    }


def told(gib: float) -> str:
    """`22`, `1.4`, `0.024`."""
    return f"{gib:,.0f}" if gib >= 10 else f"{gib:.2g}"

"""The hours of the paper's Table 1 by row, from what a training step, an image and a score take on one GPU.

The paper's run (params/paper.yaml): 100,000 steps a row, and the images of all validation recipes of YouCook2.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from recipevis.sampling.plan import CONTROL_RECIPES
from recipevis.table1.rows import Row, trained

RECIPES, STEPS = 457, 3492  # of YouCook2's validation split


@dataclass(frozen=True)
class Gpu:
    """A card's peak rates by the vendor's datasheet: dense bf16 in TFLOP/s, memory in TB/s."""

    tflops: float
    memory: float


GPUS = {
    "A40": Gpu(149.7, 0.696),
    "A100": Gpu(312, 2.039),  # 80 GB, SXM
    "H100": Gpu(989.4, 3.35),  # SXM
    "H200": Gpu(989.4, 4.8),
}


@dataclass(frozen=True)
class Costs:
    """Measured seconds.

    Attributes:
        steps: a training step without L_cyc, by fuser.
        cycle_ratio: a step with L_cyc over one without.
        image: one generated image at the frames' size.
        native_image: one at the backbone's own size.
        score: the metrics of one image, its encoders included.
    """

    steps: Mapping[str, float]
    cycle_ratio: float
    image: float
    native_image: float
    score: float


@dataclass(frozen=True)
class Hours:
    """Hours of one row."""

    name: str
    training: float
    sampling: float
    scoring: float

    @property
    def total(self) -> float:
        """All three."""
        return self.training + self.sampling + self.scoring


def distinct_images(row: Row, recipes: int = RECIPES, steps: int = STEPS, controls: int = CONTROL_RECIPES) -> int:
    """How many images the stage `sample` generates for a row; equal ones are copied.

    Every step autoregressively; where the model uses the previous image, also every step but the first teacher-forced,
    and the steps of `controls` recipes from a wrong image and from none.

    Args:
        row: of the table.
        recipes, steps: of the validation split; every step has a frame.
        controls: the most recipes of a control.
    """
    if not row.uses_image:
        return steps
    return steps + (steps - recipes) + 2 * round(steps * min(controls, recipes) / recipes)


def of_rows(costs: Costs, training_steps: int) -> Iterator[Hours]:
    """The hours of each row that is trained, then of what all rows share: the untouched backbone's images, both sizes.

    Args:
        costs: on one GPU.
        training_steps: a row.
    """
    controls, seen = round(STEPS * CONTROL_RECIPES / RECIPES), set()
    for row in trained():
        step, count = costs.steps[row.fuser] * (costs.cycle_ratio if row.cycle else 1), distinct_images(row)
        training = (row.fuser, row.cycle, row.previous_latent, row.first_latent, row.condition)
        steps = 0 if training in seen else training_steps  # rows that differ in sampling alone share the training
        seen.add(training)
        yield Hours(row.label, *_hours(step * steps, costs.image * count, costs.score * count))
    sampling = costs.image * STEPS + costs.native_image * controls
    yield Hours("Stable Diffusion, untouched", *_hours(0, sampling, costs.score * (STEPS + controls)))


def on_another(hours: Hours, measured: Gpu, other: Gpu) -> Hours:
    """Hours on another card, computed: longer by the ratio of the peaks or of the memory's rates, whichever is larger.

    Scoring is the CPU's for the most part, so it is kept.
    """
    ratio = max(measured.tflops / other.tflops, measured.memory / other.memory)
    return replace(hours, training=hours.training * ratio, sampling=hours.sampling * ratio)


def summed(rows: list[Hours]) -> Hours:
    """The hours of all rows, one after the other."""
    return Hours("all", *(sum(getattr(row, part) for row in rows) for part in ("training", "sampling", "scoring")))


def _hours(*seconds: float) -> tuple[float, ...]:
    return tuple(value / 3600 for value in seconds)

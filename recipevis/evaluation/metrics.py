"""The registry of metrics: what is measured of generated images, by kind.

To add a metric, write its function and add an entry to `METRICS`. It then appears in `evaluation.json`, the page, the
plots, the model card and Table 1. Images are uint8 RGB [h, w, 3]. Vectors are an encoder's, not normalised, float32
[d]. The paper names CLIP L2, PSNR and SSIM (section 3) without formulas; docs/architecture.md says how we read them.

This module must import quickly: the stage `report` reads labels from it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import skimage.metrics  # loads its functions, and scipy, on first use

from recipevis.evaluation import distances, scene, sequences, similarity

PSNR_CAP = 60.0  # dB, an error of a quarter of a grey level; identical images have infinite PSNR
_GREY_LEVELS = 255


@dataclass(frozen=True)
class Encoder:
    """Vectors that are compared: what one network makes of an image.

    Attributes:
        network: the network, by its name in `encoders.load`.
        space: which of its vectors, see `encoders.Encoder.images`.
        label: its name on the page.
        description: what it is, after "the two images' vectors from".
    """

    network: str
    space: str
    label: str
    description: str


# CLIP conditions the model and trains it, so two networks that do neither judge beside it.
JUDGE, IMAGE_JUDGE = "encoder", "image_encoder"
ENCODERS = {
    "clip": Encoder("clip", "pooled", "CLIP", "the backbone's CLIP, pooled"),
    "clip_projected": Encoder("clip", "projected", "CLIP projected", "the backbone's CLIP, projected beside its text"),
    JUDGE: Encoder(
        "encoder", "projected", "second encoder", "an image-text encoder that neither conditions nor trains"
    ),
    IMAGE_JUDGE: Encoder("image_encoder", "pooled", "image encoder", "an image encoder that has seen no text"),
}


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: its key in `evaluation.json`; `named` puts the encoder's name before it if it has several encoders.
        label: its name on the page; the encoder's label goes before it likewise.
        kind: what `function` takes:
            `pair`: the generated image and the ground truth.
            `vector`: one encoder's vectors of these two.
            `change`: the generated image, the image that it followed, the ground truth, the ground truth before it.
                The image that it followed is the system's own where it generates autoregressively, else the ground
                truth. Undefined at a first step.
            `vector_change`: one encoder's vectors of these four.
            `sentence`: an image-text encoder's vectors of the generated image [d], its sentence [d], and the recipe's
                other sentences [n, d].
            `recipe_type`: likewise, with the vector of its recipe type and those of other types; for a last step.
            `scene`: nothing; `evaluation.scene` answers it from what is known of the scene.
            `set`: one encoder's vectors of all generated images and of all ground truths, [n, d] each, in one order.
        function: returns a float; NaN where it is undefined. None for `scene`.
        higher_is_better: the direction; None: the closer to `target`, the better.
        description: what it measures, a noun phrase; `{encoder}` stands for the encoder's description.
        unit: shown after the label; empty if there is none.
        digits: digits after the point that carry information.
        encoders: whose vectors are compared; a variant for each.
        headline: whether it stands in `metrics.json`, in the page's tiles, in the model card and, unless it is a set
            metric, in the drift table and plot. A tuple: for these encoders only.
        features: for a set metric that compares images in its own way: maps an image to a vector [d].
        target: the best value where neither direction is better.
        left_out: for a set metric that can leave out groups of images faster than one by one: takes the two sets and
            the number of each pair's group, and returns the metric without each group in turn.
        limits: the lowest and the highest value, for a share; its interval ends there.
        encoder: the encoder whose vectors are compared; set by `named`.
    """

    name: str
    label: str
    kind: Literal["pair", "vector", "change", "vector_change", "sentence", "recipe_type", "scene", "set"]
    function: Callable[..., float] | None
    higher_is_better: bool | None
    description: str
    unit: str = ""
    digits: int = 2
    encoders: tuple[str, ...] = ("clip", JUDGE, IMAGE_JUDGE)
    headline: bool | tuple[str, ...] = False
    features: Callable[[np.ndarray], np.ndarray] | None = None
    target: float = 0.0
    left_out: Callable[[np.ndarray, np.ndarray, np.ndarray], list[float]] | None = None
    limits: tuple[float, float] | None = None
    encoder: str | None = None

    @property
    def heading(self) -> str:
        """The label with its unit."""
        return f"{self.label}, {self.unit}" if self.unit else self.label

    @property
    def direction(self) -> str:
        """Which direction is better, in words."""
        if self.higher_is_better is None:
            return f"closer to {self.target:g} is better"
        return "higher is better" if self.higher_is_better else "lower is better"

    @property
    def arrow(self) -> str:
        """Which direction is better, as an arrow."""
        return {None: f"→{self.target:g}", True: "↑", False: "↓"}[self.higher_is_better]

    @property
    def source(self) -> str:
        """Whose vectors a metric compares: an encoder's name, or its own for `features`."""
        return self.encoder or self.name

    @property
    def is_of_vectors(self) -> bool:
        """Whether the metric compares an encoder's vectors."""
        return self.kind not in ("pair", "change", "scene") and self.features is None

    def better(self, value: float, other: float) -> bool:
        """Whether `value` is strictly better than `other`."""
        if self.higher_is_better is None:
            return abs(value - self.target) < abs(other - self.target)
        return value > other if self.higher_is_better else value < other


def named() -> dict[str, Metric]:
    """Every metric by its key; a metric of vectors appears once per encoder.

    The order is that of the columns of `images.csv`: metrics of vectors by encoder, then the others, sets last.
    """
    variants = [
        variant
        for metric in METRICS
        for variant in ([_of_encoder(metric, name) for name in metric.encoders] if metric.is_of_vectors else [metric])
    ]
    order = {name: number for number, name in enumerate(ENCODERS)}
    variants.sort(key=lambda metric: (metric.kind == "set", metric.kind != "vector", order.get(metric.encoder, -1)))
    return {metric.name: metric for metric in variants}


def limits() -> dict[str, tuple[float, float]]:
    """`Metric.limits` of the metrics that have them, by key."""
    return {name: metric.limits for name, metric in named().items() if metric.limits}


def headline() -> list[str]:
    """Keys of the headline metrics."""
    return [name for name, metric in named().items() if metric.headline]


def _of_encoder(metric: Metric, encoder: str) -> Metric:
    about, one = ENCODERS[encoder], len(metric.encoders) == 1
    return replace(
        metric,
        name=metric.name if one else f"{encoder}_{metric.name}",
        label=metric.label if one else f"{about.label} {metric.label}",
        description=metric.description.format(encoder=about.description),
        headline=metric.headline if isinstance(metric.headline, bool) else encoder in metric.headline,
        encoder=encoder,
    )


def psnr(generated: np.ndarray, truth: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, at most `PSNR_CAP`; the squared error is averaged over pixels and channels.

    Raises:
        ValueError: the images differ in shape or are not uint8.
    """
    _check_images(generated, truth)
    if np.array_equal(generated, truth):
        return PSNR_CAP
    value = skimage.metrics.peak_signal_noise_ratio(truth, generated, data_range=_GREY_LEVELS)
    return min(float(value), PSNR_CAP)


def l2(generated: np.ndarray, truth: np.ndarray) -> float:
    """Euclidean distance of two vectors. Its scale is that of their norms."""
    return float(np.linalg.norm(np.asarray(generated, np.float64) - np.asarray(truth, np.float64)))


def cosine_distance(generated: np.ndarray, truth: np.ndarray) -> float:
    """100 (1 - cosine) of two vectors, in [0, 200]; a zero vector counts as orthogonal."""
    generated, truth = np.asarray(generated, np.float64), np.asarray(truth, np.float64)
    norms = np.linalg.norm(generated) * np.linalg.norm(truth)
    return float(100 * (1 - (generated @ truth / norms if norms else 0)))


def _check_images(generated: np.ndarray, truth: np.ndarray) -> None:
    if generated.shape != truth.shape or generated.dtype != np.uint8 or truth.dtype != np.uint8:
        raise ValueError(
            f"images must be uint8 and of one shape: {generated.shape} {generated.dtype}, {truth.shape} {truth.dtype}"
        )


_ALL, _JUDGES = tuple(ENCODERS), (JUDGE, IMAGE_JUDGE)
_SHARE = (0.0, 1.0)
METRICS = (
    Metric(
        "l2",
        "L2",
        "vector",
        l2,
        False,
        "Euclidean distance of the two images' vectors from {encoder}",
        encoders=_ALL,
        headline=("clip",),
    ),
    Metric(
        "cosine",
        "cosine",
        "vector",
        cosine_distance,
        False,
        "100 (1 - cosine) of the vectors from {encoder}",
        encoders=_ALL,
        headline=("clip", IMAGE_JUDGE),
    ),
    Metric("psnr", "PSNR", "pair", psnr, True, "peak signal-to-noise ratio over all pixels", unit="dB", headline=True),
    Metric(
        "ssim",
        "SSIM",
        "pair",
        similarity.gaussian,
        True,
        "structural similarity, at most 1, in a Gaussian window",
        digits=3,
        headline=True,
    ),
    Metric(
        "ssim_uniform",
        "SSIM 7×7",
        "pair",
        similarity.uniform,
        True,
        "structural similarity in a uniform window of 7×7 pixels, scikit-image's default, which many papers report",
        digits=3,
    ),
    Metric(
        "sharpness",
        "sharpness",
        "pair",
        sequences.sharpness,
        None,
        "gradient energy over the ground truth's; below 1 the image is blurred",
        target=1.0,
    ),
    Metric(
        "copy_rate",
        "copy rate",
        "change",
        sequences.copy_rate,
        None,
        "SSIM to the previous image, minus the ground truth's; above 0 the model copies",
        digits=3,
    ),
    Metric(
        "consistency",
        "consistency",
        "vector_change",
        sequences.consistency,
        None,
        "cosine to the previous image, minus the ground truth's, by {encoder}; above 0 the model copies",
        digits=3,
        encoders=(IMAGE_JUDGE,),
    ),
    Metric(
        "absolute_consistency",
        "consistency error",
        "vector_change",
        sequences.absolute_consistency,
        False,
        "size of the same difference",
        digits=3,
        encoders=(IMAGE_JUDGE,),
    ),
    Metric(
        "step_faithfulness",
        "step faithfulness",
        "sentence",
        sequences.step_faithfulness,
        True,
        "share of the recipe's other sentences that fit the image worse than its own, by {encoder}; by chance 0.5",
        digits=3,
        limits=_SHARE,
        encoders=(JUDGE,),
        headline=True,
    ),
    Metric(
        "goal_faithfulness",
        "goal faithfulness",
        "recipe_type",
        sequences.goal_faithfulness,
        True,
        "share of last steps whose recipe type fits best among four, by {encoder}; by chance 0.25",
        digits=3,
        limits=_SHARE,
        encoders=(JUDGE,),
    ),
    *(
        Metric(name, label, "scene", None, True, description, digits=3, limits=_SHARE)
        for name, label, description in scene.DESCRIPTIONS
    ),
    Metric(
        "kid",
        "KID",
        "set",
        distances.kid,
        False,
        "kernel distance of the two sets of images, unbiased, on the vectors from {encoder}",
        digits=4,
        encoders=_JUDGES,
        left_out=distances.kid.left_out,
    ),
    Metric(
        "cmmd",
        "CMMD",
        "set",
        distances.cmmd,
        False,
        "1000 MMD² of the two sets with a Gaussian kernel, on the vectors from {encoder}",
        encoders=_JUDGES,
        left_out=distances.cmmd.left_out,
    ),
    Metric(
        "fid",
        "FID",
        "set",
        distances.frechet,
        False,
        "Fréchet distance of the two sets, on the vectors from {encoder}; biased upwards for few images",
        encoders=(IMAGE_JUDGE,),
    ),
)

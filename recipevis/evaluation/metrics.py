"""The registry of metrics: how close generated images are to the ground truth.

To add a metric, write its function and add an entry to `METRICS`. It then appears in `evaluation.json`, the page, the
plots and the model card. Images are uint8 RGB [h, w, 3]. Vectors are an encoder's pooled outputs, not normalised,
float32 [d]. The paper names CLIP L2, PSNR and SSIM (section 3) without formulas; docs/architecture.md says how we read
them.

This module must import quickly: the stage `report` reads labels from it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import skimage.metrics  # loads its functions, and scipy, on first use

PSNR_CAP = 60.0  # dB, an error of a quarter of a grey level; identical images have infinite PSNR
_GREY_LEVELS = 255


@dataclass(frozen=True)
class Encoder:
    """An encoder whose vectors are compared.

    Attributes:
        label: its name on the page.
        description: what it is, after "the two images' vectors from".
        headline: whether its metrics can be headline metrics.
    """

    label: str
    description: str
    headline: bool


ENCODERS = {
    "clip": Encoder("CLIP", "the backbone's CLIP", headline=True),
    "encoder": Encoder("second CLIP", "a CLIP that neither conditions the model nor trains it", headline=False),
}


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
        name: its key in `evaluation.json`; `named` puts the encoder's name before a metric of vectors.
        label: its name on the page; the encoder's label goes before it likewise.
        kind: what `function` compares, always (generated, ground truth):
            `pair`: two images.
            `vector`: one encoder's vectors of two images.
            `set`: the vectors of two sets of images, float32 [n, d] each, in the same order.
        function: returns a float; NaN where a set is too small.
        higher_is_better: the direction.
        description: what it measures, a noun phrase; `{encoder}` stands for the encoder's description.
        unit: shown after the label; empty if there is none.
        digits: digits after the point that carry information.
        headline: whether it stands in `metrics.json`, in the page's tiles, in the model card and, unless it is a set
            metric, in the drift table and plot.
        features: for a set metric that compares images in its own way: maps an image to a vector [d], once per image.
            Without it the metric compares each encoder's vectors.
        encoder: the encoder whose vectors are compared; set by `named`.
    """

    name: str
    label: str
    kind: Literal["pair", "vector", "set"]
    function: Callable[[np.ndarray, np.ndarray], float]
    higher_is_better: bool
    description: str
    unit: str = ""
    digits: int = 2
    headline: bool = True
    features: Callable[[np.ndarray], np.ndarray] | None = None
    encoder: str | None = None

    @property
    def heading(self) -> str:
        """The label with its unit."""
        return f"{self.label}, {self.unit}" if self.unit else self.label

    @property
    def direction(self) -> str:
        """Which direction is better, in words."""
        return "higher is better" if self.higher_is_better else "lower is better"

    @property
    def arrow(self) -> str:
        """Which direction is better, as an arrow."""
        return "↑" if self.higher_is_better else "↓"

    @property
    def source(self) -> str:
        """Whose vectors a `vector` or `set` metric compares: an encoder's name, or its own."""
        return self.encoder or self.name

    def better(self, value: float, other: float) -> bool:
        """Whether `value` is strictly better than `other`."""
        return value > other if self.higher_is_better else value < other


def named() -> dict[str, Metric]:
    """Every metric by its key; metrics of vectors appear once per encoder.

    The order is that of the columns of `images.csv`: by encoder, then image pairs, then sets.
    """
    of_vectors = [_of_encoder(metric, encoder) for encoder in ENCODERS for metric in METRICS if metric.kind == "vector"]
    of_pairs = [metric for metric in METRICS if metric.kind == "pair"]
    of_sets = [
        variant
        for metric in METRICS
        if metric.kind == "set"
        for variant in ([metric] if metric.features else [_of_encoder(metric, encoder) for encoder in ENCODERS])
    ]
    return {metric.name: metric for metric in (*of_vectors, *of_pairs, *of_sets)}


def headline() -> list[str]:
    """Keys of the headline metrics."""
    return [name for name, metric in named().items() if metric.headline]


def _of_encoder(metric: Metric, encoder: str) -> Metric:
    about = ENCODERS[encoder]
    return replace(
        metric,
        name=f"{encoder}_{metric.name}",
        label=f"{about.label} {metric.label}",
        description=metric.description.format(encoder=about.description),
        headline=metric.headline and about.headline,
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


def ssim(generated: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity in [-1, 1] as Wang et al. (2004) define it.

    Gaussian window of sigma 1.5, population covariance, mean over pixels and channels.

    Raises:
        ValueError: the images differ in shape, are not uint8, or are smaller than the window (11 pixels).
    """
    _check_images(generated, truth)
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    compare = skimage.metrics.structural_similarity
    return float(compare(truth, generated, channel_axis=-1, data_range=_GREY_LEVELS, **gaussian))


def ssim_uniform(generated: np.ndarray, truth: np.ndarray) -> float:
    """Structural similarity in scikit-image's default window, 7 x 7 pixels of equal weight.

    Raises:
        ValueError: as `ssim`; the window has 7 pixels.
    """
    _check_images(generated, truth)
    return float(skimage.metrics.structural_similarity(truth, generated, channel_axis=-1, data_range=_GREY_LEVELS))


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


METRICS = (
    Metric("l2", "L2", "vector", l2, False, "Euclidean distance of the two images' vectors from {encoder}"),
    Metric("cosine", "cosine", "vector", cosine_distance, False, "100 (1 - cosine) of the vectors from {encoder}"),
    Metric("psnr", "PSNR", "pair", psnr, True, "peak signal-to-noise ratio over all pixels", unit="dB"),
    Metric("ssim", "SSIM", "pair", ssim, True, "structural similarity, at most 1, in a Gaussian window", digits=3),
    Metric(
        "ssim_uniform",
        "SSIM 7×7",
        "pair",
        ssim_uniform,
        True,
        "structural similarity in a uniform window of 7×7 pixels, scikit-image's default, which many papers report",
        digits=3,
        headline=False,
    ),
)

"""How close a drawn image is to the true one: plain functions of two images, or of their two CLIP vectors.

Images are uint8 RGB [h, w, 3]; vectors are the vision tower's pooled outputs, not normalised, float [d]. The paper
names CLIP L2, PSNR and SSIM (section 3) and gives no formula; docs/architecture.md says which readings these are.
"""

import numpy as np
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

PSNR_CAP = 60.0  # dB; a tenth of a grey level. Equal images have infinitely many, which no mean survives
_GREY_LEVELS = 255


def psnr(drawn: np.ndarray, true: np.ndarray) -> float:
    """Peak signal-to-noise ratio in dB, higher is better, at most `PSNR_CAP`.

    The squared error is averaged over pixels and channels; whoever averages over images counts those at the cap.

    Raises:
        ValueError: the shapes differ.
    """
    _same_kind(drawn, true)
    if np.array_equal(drawn, true):
        return PSNR_CAP
    return min(float(peak_signal_noise_ratio(true, drawn, data_range=_GREY_LEVELS)), PSNR_CAP)


def ssim(drawn: np.ndarray, true: np.ndarray) -> float:
    """Structural similarity in [-1, 1], higher is better, as Wang et al. (2004) define it.

    Gaussian window of sigma 1.5, population covariance, mean over pixels and channels.

    Raises:
        ValueError: the shapes differ, or an image is smaller than the window (11 pixels).
    """
    _same_kind(drawn, true)
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(true, drawn, channel_axis=-1, data_range=_GREY_LEVELS, **gaussian))


def ssim_uniform(drawn: np.ndarray, true: np.ndarray) -> float:
    """Structural similarity with scikit-image's default window, 7 x 7 pixels of equal weight.

    Beside `ssim` because many papers report what the library's default gives.
    """
    _same_kind(drawn, true)
    return float(structural_similarity(true, drawn, channel_axis=-1, data_range=_GREY_LEVELS))


def clip_l2(drawn: np.ndarray, true: np.ndarray) -> float:
    """Euclidean distance of two pooled vectors, lower is better. Its scale is that of the vectors' norm."""
    return float(np.linalg.norm(np.asarray(drawn, np.float64) - np.asarray(true, np.float64)))


def clip_cosine(drawn: np.ndarray, true: np.ndarray) -> float:
    """100 (1 - cosine) of two pooled vectors, in [0, 200], lower is better; a zero vector counts as at right angles."""
    drawn, true = np.asarray(drawn, np.float64), np.asarray(true, np.float64)
    norms = np.linalg.norm(drawn) * np.linalg.norm(true)
    return float(100 * (1 - (drawn @ true / norms if norms else 0)))


def _same_kind(drawn: np.ndarray, true: np.ndarray) -> None:
    if drawn.shape != true.shape or drawn.dtype != np.uint8 or true.dtype != np.uint8:
        raise ValueError(f"images differ or are no uint8: {drawn.shape} {drawn.dtype}, {true.shape} {true.dtype}")

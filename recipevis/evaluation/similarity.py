"""Structural similarity (SSIM) of two images, in a Gaussian and in a uniform window.

Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004. The values are those of
scikit-image's `structural_similarity` to rounding. Here, only the windows that lie wholly inside the image are
computed, three moments instead of five, one plane after the other so that the processor's cache holds it. The loops are
numpy's, which releases Python's lock: several threads score several images.
"""

import numpy as np

_LEVELS = 255  # the range of a grey level
_C1, _C2 = (0.01 * _LEVELS) ** 2, (0.03 * _LEVELS) ** 2  # K1 = 0.01 and K2 = 0.03, as in the paper's section III.B
_SIGMA, _RADIUS = 1.5, 5  # pixels; 5 is 3.5 sigma, rounded, as in scikit-image: 11 x 11 pixels as in the paper
_SIDE = 7  # of scikit-image's default window, pixels


def gaussian(generated: np.ndarray, truth: np.ndarray) -> float:
    """SSIM as the paper defines it: Gaussian window of sigma 1.5, population covariance, mean over pixels and channels.

    Args:
        generated, truth: uint8 [h, w, c] of one shape, at least 11 pixels high and wide.

    Returns:
        in [-1, 1]; 1 for equal images.

    Raises:
        ValueError: the images differ in shape, are not uint8, or are smaller than the window.
    """
    weights = np.exp(-0.5 * (np.arange(-_RADIUS, _RADIUS + 1) / _SIGMA) ** 2)
    return _ssim(generated, truth, weights / weights.sum(), 1.0)


def uniform(generated: np.ndarray, truth: np.ndarray) -> float:
    """SSIM in a window of 7 x 7 pixels of equal weight with sample covariance, scikit-image's default.

    Args, returns and raises as `gaussian`; at least 7 pixels.
    """
    pixels = _SIDE**2
    return _ssim(generated, truth, np.full(_SIDE, 1 / _SIDE), pixels / (pixels - 1))


def _ssim(generated: np.ndarray, truth: np.ndarray, weights: np.ndarray, correction: float) -> float:
    """The mean over pixels and channels.

    Args:
        generated, truth: as in `gaussian`.
        weights: of the window along one axis, symmetric, [n] with an odd n, their sum is 1.
        correction: what the covariances are multiplied by: n^2 / (n^2 - 1) makes them those of a sample.
    """
    if generated.shape != truth.shape or generated.dtype != np.uint8 or truth.dtype != np.uint8:
        raise ValueError(
            f"images must be uint8 and of one shape: {generated.shape} {generated.dtype}, {truth.shape} {truth.dtype}"
        )
    if min(generated.shape[:2]) < len(weights):
        raise ValueError(f"images of shape {generated.shape}: must be at least {len(weights)} pixels high and wide")
    means = []
    for channel in range(generated.shape[2]):
        x, y = (image[..., channel].astype(np.float64) for image in (generated, truth))  # [h, w]
        squares, product = _windowed(x * x + y * y, weights), _windowed(x * y, weights)
        x, y = _windowed(x, weights), _windowed(y, weights)
        mean_squares, mean_product = x * x + y * y, x * y
        # The two variances occur only as their sum, so that their moments are filtered as one.
        variances, covariance = correction * (squares - mean_squares), correction * (product - mean_product)
        ratio = (2 * mean_product + _C1) * (2 * covariance + _C2)
        ratio /= (mean_squares + _C1) * (variances + _C2)
        means.append(ratio.mean())
    return float(np.mean(means))


def _windowed(plane: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean of each window of a plane [h, w] that lies inside it, [h - n + 1, w - n + 1]."""
    return _along_rows(_along_rows(plane, weights).T, weights).T


def _along_rows(plane: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """The weighted mean over each n neighbouring rows of a plane [h, w], [h - n + 1, w]."""
    count, radius = len(plane) - len(weights) + 1, len(weights) // 2
    total, term = plane[radius : radius + count] * weights[radius], None
    for distance in range(1, radius + 1):  # rows at the same distance have the same weight
        before, after = radius - distance, radius + distance
        term = np.add(plane[before : before + count], plane[after : after + count], out=term)
        term *= weights[after]
        total += term
    return total

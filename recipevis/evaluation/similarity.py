"""Structural similarity (SSIM) of two images, in a Gaussian and in a uniform window.

Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004. The values are those of
scikit-image's `structural_similarity` to rounding. Here, only the windows that lie wholly inside the image are
computed, four moments instead of five, and one plane after the other so that the processor's cache holds it. The loops
are numpy's, which releases Python's lock: several threads score several images.
"""

from collections.abc import Callable

import numpy as np

_LEVELS = 255  # the range of a grey level
_C1, _C2 = (0.01 * _LEVELS) ** 2, (0.03 * _LEVELS) ** 2  # K1 = 0.01 and K2 = 0.03, as in the paper's section III.C
_SIGMA, _RADIUS = 1.5, 5  # pixels; 5 is 3.5 sigma, rounded, as in scikit-image: 11 x 11 pixels, as in the paper
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
    return _ssim(generated, truth, 2 * _RADIUS + 1, _gaussian_means, 1.0)


def uniform(generated: np.ndarray, truth: np.ndarray) -> float:
    """SSIM in a window of 7 x 7 pixels of equal weight with sample covariance, scikit-image's default.

    Args:
        generated, truth: as in `gaussian`; at least 7 pixels.

    Returns:
        as `gaussian`.

    Raises:
        ValueError: as `gaussian`.
    """
    pixels = _SIDE**2
    return _ssim(generated, truth, _SIDE, _uniform_means, pixels / (pixels - 1))


def _ssim(
    generated: np.ndarray,
    truth: np.ndarray,
    side: int,
    means: Callable[[np.ndarray], np.ndarray],
    correction: float,
) -> float:
    """The mean over pixels and channels.

    Args:
        generated, truth: as in `gaussian`.
        side: of the window, pixels.
        means: from a plane, int32 [h, w], to the means of the windows inside it, [h - side + 1, w - side + 1].
        correction: what the covariances are multiplied by; pixels / (pixels - 1) makes them those of a sample.
    """
    if generated.shape != truth.shape or generated.dtype != np.uint8 or truth.dtype != np.uint8:
        raise ValueError(
            f"images must be uint8 and of one shape: {generated.shape} {generated.dtype}, {truth.shape} {truth.dtype}"
        )
    if min(generated.shape[:2]) < side:
        raise ValueError(f"images of shape {generated.shape}: must be at least {side} pixels high and wide")
    values = []
    for channel in range(generated.shape[2]):
        x, y = (image[..., channel].astype(np.int32) for image in (generated, truth))  # [h, w]
        # The two variances occur only as their sum, so their moments are averaged as one.
        squares, product, x, y = map(means, (x * x + y * y, x * y, x, y))
        product_of_means = x * y
        x *= x
        y *= y
        squares_of_means = x + y
        squares -= squares_of_means
        product -= product_of_means
        ratio = (2 * product_of_means + _C1) * (2 * correction * product + _C2)
        ratio /= (squares_of_means + _C1) * (correction * squares + _C2)
        values.append(ratio.mean())
    return float(np.mean(values))


def _gaussian_means(plane: np.ndarray) -> np.ndarray:
    """Means in the Gaussian window, float64."""
    weights = np.exp(-0.5 * (np.arange(-_RADIUS, _RADIUS + 1) / _SIGMA) ** 2)
    weights /= weights.sum()

    def along_rows(plane: np.ndarray) -> np.ndarray:
        count = len(plane) - 2 * _RADIUS
        total, term = plane[_RADIUS : _RADIUS + count] * weights[_RADIUS], None
        for distance in range(1, _RADIUS + 1):  # rows at the same distance have the same weight
            before, after = _RADIUS - distance, _RADIUS + distance
            term = np.add(plane[before : before + count], plane[after : after + count], out=term)
            term *= weights[after]
            total += term
        return total

    return along_rows(along_rows(plane.astype(np.float64)).T).T


def _uniform_means(plane: np.ndarray) -> np.ndarray:
    """Means in the uniform window, float64; the sums are exact."""

    def along_rows(plane: np.ndarray) -> np.ndarray:
        two = plane[:-1] + plane[1:]
        four = two[:-2] + two[2:]
        seven = four[:-3] + two[4:-1]
        seven += plane[6:]
        return seven

    return along_rows(along_rows(plane).T).T / _SIDE**2

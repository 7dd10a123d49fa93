"""SSIM against scikit-image, and against the definition computed window by window."""

import numpy as np
import pytest
from skimage.metrics import structural_similarity

from recipevis.evaluation import similarity


def theirs_gaussian(generated, truth):
    options = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return structural_similarity(truth, generated, channel_axis=-1, data_range=255, **options)


def theirs_uniform(generated, truth):
    return structural_similarity(truth, generated, channel_axis=-1, data_range=255)


OURS = [(similarity.gaussian, theirs_gaussian), (similarity.uniform, theirs_uniform)]


def noise(shape, seed):
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def pairs():
    """Pairs of many kinds: unlike, alike, equal, flat, of the smallest size, not square, of one channel."""
    ramp = np.broadcast_to(np.arange(256, dtype=np.uint8)[:, None], (256, 256))
    picture = np.stack([ramp, ramp.T, ramp[::-1]], axis=-1)
    brighter = np.clip(picture.astype(int) + 10, 0, 255).astype(np.uint8)
    noisy = np.clip(picture.astype(int) + np.random.default_rng(2).integers(-30, 31, picture.shape), 0, 255)
    black, white = np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)
    return {
        "noise": (noise((64, 64, 3), 0), noise((64, 64, 3), 1)),
        "negative": (picture, 255 - picture),
        "brighter": (picture, brighter),
        "noisy": (noisy.astype(np.uint8), picture),
        "equal": (picture, picture),
        "black and white": (black, white),
        "one level apart": (black, black + np.uint8(1)),
        "smallest": (noise((11, 11, 3), 3), noise((11, 11, 3), 4)),
        "not square": (noise((17, 40, 3), 5), noise((17, 40, 3), 6)),
        "one channel": (noise((20, 20, 1), 7), noise((20, 20, 1), 8)),
        "not contiguous": (picture[::2, ::-1], noisy.astype(np.uint8)[::2]),
    }


@pytest.mark.parametrize(("ours", "theirs"), OURS, ids=["gaussian", "uniform"])
@pytest.mark.parametrize("pair", pairs().values(), ids=pairs().keys())
def test_ssim_is_scikit_images(pair, ours, theirs):
    assert ours(*pair) == pytest.approx(theirs(*pair), abs=1e-9)


def window_by_window(generated, truth, weights, correction):
    """The definition, a window at a time: weighted moments about the weighted mean."""
    side, values = len(weights), []
    for channel in range(generated.shape[2]):
        for row in range(generated.shape[0] - side + 1):
            for column in range(generated.shape[1] - side + 1):
                x, y = (
                    image[row : row + side, column : column + side, channel].astype(float)
                    for image in (generated, truth)
                )
                mean_x, mean_y = (weights * x).sum(), (weights * y).sum()
                variance_x, variance_y, covariance = (
                    correction * (weights * first * second).sum()
                    for first, second in (
                        (x - mean_x, x - mean_x),
                        (y - mean_y, y - mean_y),
                        (x - mean_x, y - mean_y),
                    )
                )
                c1, c2 = 2.55**2, 7.65**2
                luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
                values.append(luminance * (2 * covariance + c2) / (variance_x + variance_y + c2))
    return np.mean(values)


def test_ssim_is_the_definition():
    pair = noise((14, 13, 2), 0) // 2, noise((14, 13, 2), 1)
    distance = np.hypot(*np.mgrid[-5:6, -5:6])
    bell = np.exp(-(distance**2) / (2 * 1.5**2))
    expected = window_by_window(*pair, bell / bell.sum(), 1.0)
    assert similarity.gaussian(*pair) == pytest.approx(expected, abs=1e-9)
    expected = window_by_window(*pair, np.full((7, 7), 1 / 49), 49 / 48)
    assert similarity.uniform(*pair) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("ours", "theirs"), OURS, ids=["gaussian", "uniform"])
def test_images_that_cannot_be_compared_are_refused(ours, theirs):
    image = noise((16, 16, 3), 0)
    for other in (image[:12], image.astype(np.float64)):
        with pytest.raises(ValueError, match="one shape"):
            ours(image, other)
    small = image[:16, :6]
    with pytest.raises(ValueError, match="pixels high and wide"):
        ours(small, small)

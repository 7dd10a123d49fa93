import math

import numpy as np
import pytest
from scipy.ndimage import convolve

from recipevis.evaluation import metrics


def image(seed, pixels=32):
    return np.random.default_rng(seed).integers(0, 256, (pixels, pixels, 3), dtype=np.uint8)


def ssim_by_convolution(a, b, window, correction=1.0):
    """Wang et al.'s formula written out: mean over the channels' maps, without the border that the window overhangs."""
    a, b = a.astype(float), b.astype(float)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    pad = window.shape[0] // 2

    def local(x):
        return np.stack([convolve(x[..., c], window, mode="reflect") for c in range(3)], axis=-1)

    mean_a, mean_b = local(a), local(b)
    second = local(a * a) - mean_a**2, local(b * b) - mean_b**2, local(a * b) - mean_a * mean_b
    var_a, var_b, cov = (correction * moment for moment in second)
    top = (2 * mean_a * mean_b + c1) * (2 * cov + c2)
    return float((top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)))[pad:-pad, pad:-pad].mean())


def test_psnr_of_a_constant_offset_is_the_closed_form():
    truth = np.full((16, 16, 3), 100, np.uint8)
    for offset in (1, 5, 100):
        expected = 20 * math.log10(255 / offset)
        assert metrics.psnr(truth + np.uint8(offset), truth) == pytest.approx(expected)
        assert metrics.psnr(truth, truth + np.uint8(offset)) == pytest.approx(expected)
    assert metrics.psnr(np.zeros_like(truth), np.full_like(truth, 255)) == pytest.approx(0)


def test_psnr_averages_the_squared_error_over_pixels_and_channels():
    a, b = image(1), image(2)
    squares = [(int(x) - int(y)) ** 2 for x, y in zip(a.ravel(), b.ravel(), strict=True)]
    assert metrics.psnr(a, b) == pytest.approx(10 * math.log10(255**2 / (sum(squares) / len(squares))))


def test_psnr_is_capped():
    truth = image(1, 256)
    assert metrics.psnr(truth, truth) == 60
    almost = truth.copy()
    almost[0, 0, 0] ^= 1  # one grey level in one of 196,608 values: 101 dB
    assert metrics.psnr(almost, truth) == 60


def test_ssim_is_the_papers_formula_with_a_gaussian_window():
    offsets = np.arange(-5, 6)  # truncated at 3.5 sigma, 11 x 11 as in Wang et al.
    line = np.exp(-(offsets**2) / (2 * 1.5**2))
    window = np.outer(line, line) / line.sum() ** 2
    truth = image(1)
    for generated in (image(2), (truth * 0.7).astype(np.uint8), np.full_like(truth, 128)):
        assert metrics.ssim(generated, truth) == pytest.approx(ssim_by_convolution(generated, truth, window), abs=1e-9)


def test_uniform_ssim_is_the_formula_with_a_box_of_7():
    window = np.full((7, 7), 1 / 49)
    a, b = image(1), image(2)
    expected = ssim_by_convolution(a, b, window, correction=49 / 48)  # sample covariance, the library's default
    assert metrics.ssim_uniform(a, b) == pytest.approx(expected, abs=1e-9)
    assert metrics.ssim_uniform(a, a) == pytest.approx(1)


def test_ssim_of_two_constant_images_is_the_closed_form():
    a, b = np.full((16, 16, 3), 50, np.uint8), np.full((16, 16, 3), 200, np.uint8)
    c1 = (0.01 * 255) ** 2
    expected = (2 * 50 * 200 + c1) / (50**2 + 200**2 + c1)
    assert metrics.ssim(a, b) == pytest.approx(expected)
    assert metrics.ssim_uniform(a, b) == pytest.approx(expected)
    assert metrics.ssim(a, a) == pytest.approx(1)


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim, metrics.ssim_uniform])
def test_images_of_another_shape_or_type_are_refused(metric):
    with pytest.raises(ValueError, match="shape"):
        metric(image(1, 32), image(1, 16))
    with pytest.raises(ValueError, match="uint8"):
        metric(image(1) / 255, image(1) / 255)


def test_distances_of_vectors_are_the_closed_forms():
    assert metrics.l2(np.array([3.0, 0]), np.array([0, 4.0])) == pytest.approx(5)
    for degrees in (0, 30, 90, 180):
        turned = 7 * np.array([math.cos(math.radians(degrees)), math.sin(math.radians(degrees))])
        expected = 100 * (1 - math.cos(math.radians(degrees)))
        assert metrics.cosine_distance(turned, np.array([2.0, 0])) == pytest.approx(expected, abs=1e-9)
    assert metrics.cosine_distance(np.zeros(2), np.array([2.0, 0])) == 100


def test_distances_of_float16_vectors_are_computed_in_full_precision():
    a, b = np.full(1024, 200, np.float16), np.full(1024, -200, np.float16)  # 400 * 32: the squares overflow float16
    assert metrics.l2(a, b) == pytest.approx(12800)
    assert metrics.cosine_distance(a, b) == pytest.approx(200)


def test_metrics_of_vectors_appear_once_per_encoder():
    named = metrics.named()
    assert list(named) == ["clip_l2", "clip_cosine", "encoder_l2", "encoder_cosine", "psnr", "ssim", "ssim_uniform"]
    assert metrics.headline() == ["clip_l2", "clip_cosine", "psnr", "ssim"]
    assert all("{" not in metric.description for metric in named.values())
    assert named["clip_l2"].description != named["encoder_l2"].description


def test_a_set_metric_appears_once_per_encoder_unless_it_has_its_own_features(monkeypatch):
    about = {"kind": "set", "function": lambda generated, truth: 0.0, "higher_is_better": False, "description": "d"}
    own = metrics.Metric("colours", "colours", features=np.ravel, **about)
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, metrics.Metric("fid", "FID", **about), own))
    named = metrics.named()
    assert list(named)[-3:] == ["clip_fid", "encoder_fid", "colours"]
    assert [named[name].source for name in list(named)[-3:]] == ["clip", "encoder", "colours"]


def test_better_follows_the_direction():
    named = metrics.named()
    assert named["psnr"].better(2, 1)
    assert named["clip_l2"].better(1, 2)
    assert not named["psnr"].better(1, 1)

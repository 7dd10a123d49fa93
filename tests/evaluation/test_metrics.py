import math

import numpy as np
import pytest

from recipevis.evaluation import metrics, similarity


def image(seed, pixels=32):
    return np.random.default_rng(seed).integers(0, 256, (pixels, pixels, 3), dtype=np.uint8)


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


@pytest.mark.parametrize("metric", [metrics.psnr, similarity.gaussian, similarity.uniform])
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
    spaces = ("clip", "clip_projected", "encoder", "image_encoder")
    vectors = [f"{encoder}_{name}" for encoder in spaces for name in ("l2", "cosine")]
    assert list(named)[: len(vectors)] == vectors
    assert {"psnr", "ssim", "ssim_uniform", "consistency", "step_faithfulness"} < set(named)
    sets = [name for name, metric in named.items() if metric.kind == "set"]
    assert list(named)[-len(sets) :] == sets
    assert set(sets) == {"encoder_kid", "image_encoder_kid", "encoder_cmmd", "image_encoder_cmmd", "fid"}
    assert set(metrics.headline()) == {
        *("clip_l2", "clip_cosine", "psnr", "ssim"),
        *("image_encoder_cosine", "step_faithfulness"),  # of the two judges
    }
    assert all("{" not in metric.description for metric in named.values())
    assert named["clip_l2"].description != named["encoder_l2"].description


def test_a_set_metric_appears_once_per_encoder_unless_it_has_its_own_features(monkeypatch):
    about = {"kind": "set", "function": lambda generated, truth: 0.0, "higher_is_better": False, "description": "d"}
    own = metrics.Metric("colours", "colours", features=np.ravel, **about)
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, metrics.Metric("other", "other", **about), own))
    named = metrics.named()
    added = ["clip_other", "encoder_other", "image_encoder_other", "colours"]
    assert [named[name].source for name in added] == ["clip", "encoder", "image_encoder", "colours"]


def test_better_follows_the_direction():
    named = metrics.named()
    assert named["psnr"].better(2, 1)
    assert named["clip_l2"].better(1, 2)
    assert not named["psnr"].better(1, 1)


def test_the_closer_to_its_target_the_better():
    sharpness = metrics.named()["sharpness"]
    assert sharpness.better(0.9, 1.2)
    assert not sharpness.better(1.5, 0.6)
    assert sharpness.arrow == "→1"

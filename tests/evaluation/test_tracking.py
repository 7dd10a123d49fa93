import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from recipevis.evaluation import tracking


def images(count=60):
    random = np.random.default_rng(0)
    table = pd.DataFrame({"video_id": [f"v{number // 4}" for number in range(count)]})
    for name in tracking.TRUTH:
        table[name] = random.integers(0, 2, count).astype(float)
    table.loc[::5, "old_ingredients"] = np.nan
    right = table[list(tracking.TRUTH)].mean(axis=1)
    table["psnr"] = right + random.normal(0, 0.2, count)
    table["clip_l2"] = -right + random.normal(0, 0.2, count)
    table["sharpness"] = 1 + random.choice([-1, 1], count) * (1 - right)
    table.loc[3, "psnr"] = np.nan
    return table, right


def test_over_images_is_scipys_with_the_sign_of_the_metric():
    table, right = images()
    found = tracking.over_images(table, ["psnr", "clip_l2", "sharpness"])
    known = table.psnr.notna()
    assert found.images["psnr"] == pytest.approx(spearmanr(table.psnr[known], right[known]).statistic, abs=1e-4)
    assert found.images["clip_l2"] == pytest.approx(-spearmanr(table.clip_l2, right).statistic, abs=1e-4)
    assert found.images["sharpness"] == pytest.approx(1, abs=1e-3)  # by its distance from 1
    assert (found.images_low <= found.images).all()
    assert found.images_low["psnr"] > 0.5


def test_ranks_with_ties_by_a_loop():
    a, b = np.array([1.0, 2, 2, 5, 0]), np.array([3.0, 1, 4, 4, 0])

    def ranks(values):
        return [1 + sum(x < value for x in values) + (sum(x == value for x in values) - 1) / 2 for value in values]

    assert tracking._spearman(a, b) == pytest.approx(np.corrcoef(ranks(a), ranks(b))[0, 1])
    assert np.isnan(tracking._spearman(a, np.ones(5)))


def test_over_rows():
    means = pd.DataFrame({name: [0.1, 0.2, 0.3] for name in tracking.TRUTH} | {"psnr": [1, 2, 3], "clip_l2": [1, 2, 3]})
    found = tracking.over_rows(means, ["psnr", "clip_l2"])
    assert found.rows.tolist() == [1, -1]
    assert found.number.tolist() == [3, 3]

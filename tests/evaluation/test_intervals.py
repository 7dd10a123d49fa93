import math

import numpy as np
import pandas as pd
import pytest

from recipevis.evaluation import intervals


def table_of(values_by_video):
    """A row per image with its `psnr`."""
    rows = [
        {"sample_id": f"{video}_{index}", "video_id": video, "step": index, "psnr": value}
        for video, values in values_by_video.items()
        for index, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def interval(values_by_video, resamples=2000, seed=0):
    return intervals.of_means(table_of(values_by_video), ["psnr"], resamples, seed)["psnr"]


def test_two_videos_have_the_interval_between_their_means():
    # A resample is the first video twice (1/4), both (1/2) or the second twice: 2.5 % and 97.5 % are the two means.
    assert interval({"a": [10, 20, 30], "b": [4]}) == {"mean": 16, "low": 4, "high": 20}


def test_the_interval_is_that_of_a_bootstrap_by_hand():
    random = np.random.default_rng(3)
    videos = {f"v{video}": random.normal(10, 3, random.integers(1, 9)).tolist() for video in range(40)}
    result = interval(videos, 20_000)
    assert result["mean"] == pytest.approx(np.mean([value for values in videos.values() for value in values]), rel=1e-4)
    names, means = list(videos), []
    for _ in range(20_000):
        chosen = [videos[names[index]] for index in random.integers(0, 40, 40)]
        means.append(sum(map(sum, chosen)) / sum(map(len, chosen)))
    assert [result["low"], result["high"]] == pytest.approx(np.quantile(means, [0.025, 0.975]).tolist(), abs=0.03)


def test_steps_of_a_video_are_not_independent():
    # Ten equal images of a video say no more than one of them.
    few = interval({f"v{video}": [float(video)] for video in range(20)})
    many = interval({f"v{video}": [float(video)] * 10 for video in range(20)})
    assert few == many
    half = 1.96 * np.std(range(20)) / math.sqrt(20)
    assert (few["high"] - few["low"]) / 2 == pytest.approx(half, rel=0.1)


def test_the_seed_decides_the_resamples():
    videos = {f"v{video}": [float(video)] for video in range(20)}
    assert interval(videos, 100, 0) == interval(videos, 100, 0)
    assert interval(videos, 100, 0) != interval(videos, 100, 1)


def test_no_interval_below_two_videos():
    assert interval({"a": [1.0, 2.0]}) == {"mean": 1.5, "low": None, "high": None}
    empty = table_of({"a": [1.0]}).iloc[:0]
    assert intervals.of_means(empty, ["psnr"], 100, 0)["psnr"] == dict.fromkeys(("mean", "low", "high"))
    assert intervals.of_set(lambda chosen: 3.0, ["a", "a"], 100, 0) == {"mean": 3.0, "low": None, "high": None}
    assert intervals.of_set(lambda chosen: 3.0, [], 100, 0) == dict.fromkeys(("mean", "low", "high"))


def test_the_mean_as_a_statistic_of_a_set_has_the_interval_of_means():
    """One seed resamples the same videos in both."""
    random = np.random.default_rng(1)
    table = table_of({f"v{video}": random.normal(0, 1, 1 + video % 4) for video in range(15)})
    table = table.sample(frac=1, random_state=0)
    values = table.psnr.to_numpy()
    of_set = intervals.of_set(lambda chosen: values[chosen].mean(), table.video_id, 500, 7)
    of_means = intervals.of_means(table, ["psnr"], 500, 7)["psnr"]
    assert of_set == pytest.approx(of_means, rel=1e-4)


def test_a_statistic_that_is_undefined_has_no_value():
    assert intervals.of_set(lambda chosen: math.nan, ["a", "b"], 20, 0) == dict.fromkeys(("mean", "low", "high"))


def test_a_paired_interval_is_that_of_the_difference():
    """Videos differ widely, the two sets hardly: only the pairs tell them apart."""
    random = np.random.default_rng(0)
    videos = {f"v{video}": random.normal(20, 5, 4) for video in range(30)}
    mine = table_of({video: values + 0.5 + random.normal(0, 0.1, 4) for video, values in videos.items()})
    theirs = table_of(videos).sample(frac=1, random_state=0)
    tables = [table.set_index("sample_id") for table in (mine, theirs)]
    entry = intervals.paired(*tables, ["psnr"], 0, 1000, 0)
    assert 0.4 < entry["psnr"]["low"] < 0.5 < entry["psnr"]["high"] < 0.6
    assert intervals.paired(*tables, ["psnr"], 1, 100, 0)["images"] == 90
    assert intervals.paired(tables[0], tables[1].iloc[:50], ["psnr"], 0, 100, 0)["images"] == 50


def test_numbers_have_five_significant_digits():
    assert intervals.rounded(123456.7) == 123460
    assert intervals.rounded(0.0123456) == 0.012346
    assert intervals.rounded(None) is None

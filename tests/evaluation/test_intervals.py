import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recipevis.evaluation import intervals, metrics


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


def test_few_videos_have_a_t_interval_of_the_linearised_ratio():
    """By hand: residuals of the videos' sums, and Student's t with two degrees of freedom."""
    videos = {"a": [10, 20, 30], "b": [4], "c": [7, 9]}
    mean = 80 / 6
    residuals = [60 - 3 * mean, 4 - mean, 16 - 2 * mean]
    half = 4.302653 * math.sqrt(3 / 2 * sum(value**2 for value in residuals)) / 6
    expected = {"mean": mean, "low": mean - half, "high": mean + half}
    assert interval(videos) == pytest.approx(expected, rel=1e-4)


def test_the_t_interval_of_equally_long_videos_is_that_of_their_means():
    random = np.random.default_rng(0)
    videos = {f"v{video}": random.normal(0, 1, 4) for video in range(12)}
    ends = stats.ttest_1samp([values.mean() for values in videos.values()], 0).confidence_interval(0.95)
    result = interval(videos)
    assert (result["low"], result["high"]) == pytest.approx((ends.low, ends.high), rel=1e-3)


def test_the_interval_of_a_share_ends_at_its_limits():
    table = table_of({"a": [1, 1], "b": [1, 0.5], "c": [1, 1], "d": [0, 0]}).rename(columns={"psnr": "vessel_colour"})
    free, within = (
        intervals.of_means(table, ["vessel_colour"], 100, 0, limits)["vessel_colour"]
        for limits in (None, metrics.limits())
    )
    assert free["low"] < 0 < 1 < free["high"]
    assert within == {"mean": free["mean"], "low": 0, "high": 1}


def simulated(videos, runs, seed):
    """Sums and counts of skewed videos, [runs, videos] each, and the true mean over images.

    A video has 3 to 7 images, a lognormal effect of its own, which all of its images share, and noise by image.
    """
    random = np.random.default_rng(seed)
    counts = random.integers(3, 8, (runs, videos))
    effects = random.lognormal(0, 0.4, (runs, videos)) - math.exp(0.08)
    noise = random.normal(0, 0.5, (runs, videos)) * np.sqrt(counts)
    return counts * (20 + effects) + noise, counts, 20


def test_ten_videos_are_covered_as_often_as_the_interval_says():
    """95 % of the intervals contain the truth; of a percentile bootstrap's, fewer do: the reason for the t-interval."""
    sums, counts, truth = simulated(10, 4000, seed=0)
    means = sums.sum(1) / counts.sum(1)
    covered = np.mean(np.abs(means - truth) < intervals.t_half_width(sums, counts))
    assert 0.93 < covered < 0.97
    random, bootstrapped = np.random.default_rng(1), 0
    for of_video, number in zip(sums[:1000], counts[:1000], strict=True):
        chosen = random.integers(0, 10, (500, 10))
        low, high = np.quantile(of_video[chosen].sum(1) / number[chosen].sum(1), [0.025, 0.975])
        bootstrapped += low < truth < high
    assert bootstrapped / 1000 < covered - 0.02


def test_a_hundred_videos_are_covered_by_the_bootstrap():
    sums, counts, truth = simulated(100, 500, seed=2)
    covered = [
        ends["low"] <= truth <= ends["high"]
        for ends in (intervals._of_ratio(*run, 500, seed) for seed, run in enumerate(zip(sums, counts, strict=True)))
    ]
    assert 0.92 < np.mean(covered) < 0.97


def test_an_undefined_value_does_not_count():
    table = table_of({"a": [1.0, math.nan, 3.0], "b": [math.nan], "c": [5.0, 6.0]})
    table["other"] = 1.0
    result = intervals.of_means(table, ["psnr", "other"], 100, 0)
    assert result["psnr"] == interval({"a": [1.0, 3.0], "c": [5.0, 6.0]})
    assert result["other"] == {"mean": 1, "low": 1, "high": 1}
    assert interval({"a": [math.nan]}) == dict.fromkeys(("mean", "low", "high"))


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
    for videos in (20, 60):
        few = interval({f"v{video}": [float(video)] for video in range(videos)})
        many = interval({f"v{video}": [float(video)] * 10 for video in range(videos)})
        assert few == many
        half = 1.96 * np.std(range(videos)) / math.sqrt(videos)
        assert (few["high"] - few["low"]) / 2 == pytest.approx(half, rel=0.1)


def test_the_seed_decides_the_resamples():
    videos = {f"v{video}": [float(video)] for video in range(40)}
    assert interval(videos, 100, 0) == interval(videos, 100, 0)
    assert interval(videos, 100, 0) != interval(videos, 100, 1)


def test_no_interval_below_two_videos():
    assert interval({"a": [1.0, 2.0]}) == {"mean": 1.5, "low": None, "high": None}
    empty = table_of({"a": [1.0]}).iloc[:0]
    assert intervals.of_means(empty, ["psnr"], 100, 0)["psnr"] == dict.fromkeys(("mean", "low", "high"))
    assert intervals.of_set(lambda chosen: 3.0, ["a", "a"]) == {"mean": 3.0, "low": None, "high": None}
    assert intervals.of_set(lambda chosen: 3.0, []) == dict.fromkeys(("mean", "low", "high"))


def test_the_mean_as_a_statistic_of_a_set_has_nearly_the_interval_of_means():
    random = np.random.default_rng(1)
    table = table_of({f"v{video}": random.normal(0, 1, 1 + video % 4) for video in range(25)})
    table = table.sample(frac=1, random_state=0)
    values = table.psnr.to_numpy()
    of_set = intervals.of_set(lambda chosen: values[chosen].mean(), table.video_id)
    assert of_set == pytest.approx(intervals.of_means(table, ["psnr"], 500, 7)["psnr"], rel=0.1)


def test_the_jackknife_of_equally_long_videos_is_the_t_interval():
    random = np.random.default_rng(2)
    table = table_of({f"v{video}": random.normal(0, 1, 3) for video in range(9)})
    values = table.psnr.to_numpy()
    of_set = intervals.of_set(lambda chosen: values[chosen].mean(), table.video_id)
    assert of_set == pytest.approx(intervals.of_means(table, ["psnr"], 500, 7)["psnr"], rel=1e-3)


def test_a_jackknife_by_hand():
    left_out = [1.0, 2.0, 6.0]
    half = 4.302653 * math.sqrt(2 / 3 * sum((value - 3) ** 2 for value in left_out))
    expected = {"mean": 10, "low": 10 - half, "high": 10 + half}
    assert intervals.jackknife(10, left_out) == pytest.approx(expected, rel=1e-4)
    assert intervals.jackknife(10, [1.0, math.nan]) == {"mean": 10, "low": None, "high": None}


def test_groups_are_whole_videos_of_nearly_equal_number():
    videos = [f"v{number:03d}" for number in range(70) for _ in range(1 + number % 3)]
    group = intervals.groups(videos, 30)
    of_video = {video: set(group[[name == video for name in videos]]) for video in videos}
    assert all(len(numbers) == 1 for numbers in of_video.values())
    sizes = np.bincount([next(iter(numbers)) for numbers in of_video.values()])
    assert len(sizes) == 30
    assert set(sizes) == {2, 3}
    assert intervals.groups(["b", "a", "b"]).tolist() == [1, 0, 1]
    assert intervals.left_out(lambda chosen: chosen.tolist(), np.array([1, 0, 1])) == [[0, 2], [1]]


def test_a_statistic_that_is_undefined_has_no_value():
    assert intervals.of_set(lambda chosen: math.nan, ["a", "b"]) == dict.fromkeys(("mean", "low", "high"))


def test_a_paired_interval_is_that_of_the_difference():
    """Videos differ widely, the two sets hardly: only the pairs tell them apart."""
    random = np.random.default_rng(0)
    videos = {f"v{video}": random.normal(20, 5, 4) for video in range(40)}
    mine = table_of({video: values + 0.5 + random.normal(0, 0.1, 4) for video, values in videos.items()})
    theirs = table_of(videos).sample(frac=1, random_state=0)
    tables = [table.set_index("sample_id") for table in (mine, theirs)]
    entry = intervals.paired(*tables, ["psnr"], 0, 1000, 0)
    assert 0.4 < entry["psnr"]["low"] < 0.5 < entry["psnr"]["high"] < 0.6
    assert intervals.paired(*tables, ["psnr"], 1, 100, 0)["images"] == 120
    assert intervals.paired(tables[0], tables[1].iloc[:50], ["psnr"], 0, 100, 0)["images"] == 50


def test_numbers_have_five_significant_digits():
    assert intervals.rounded(123456.7) == 123460
    assert intervals.rounded(0.0123456) == 0.012346
    assert intervals.rounded(None) is None

"""The numbers of the table, against means, t-intervals and sign flips that are computed here in another way."""

import io
import itertools
import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from recipevis.errors import InputError
from recipevis.table1 import rows, table
from tests.table1.conftest import METRICS, STEPS, VIDEOS, images_of, level

ALL = list(rows.ROWS)
SOME = ("baseline", "concat", "concat-cycle", "attend_to_image", "text_only")


def build(found: list, missing: tuple = (), systems: dict | None = None, chosen: list = ALL) -> table.Table:
    return table.build(found, missing, systems or {}, chosen)


def of_videos(image_set: str, key: str, seeds: tuple[int, ...], metric: str, first: int = 0) -> np.ndarray:
    """The mean of each video's images; all videos have as many."""
    steps = range(first, STEPS)
    values = [
        [np.mean([level(image_set, key, seed, metric, video, step) for seed in seeds]) for step in steps]
        for video in range(VIDEOS)
    ]
    return np.mean(values, axis=1)


def t_interval(values: np.ndarray) -> list[float]:
    """The mean of videos with its t-interval, by scipy."""
    low, high = stats.t.interval(0.95, len(values) - 1, values.mean(), stats.sem(values))
    return [values.mean(), low, high]


def numbers(entry: dict) -> list[float]:
    return [entry["mean"], entry["low"], entry["high"]]


@pytest.mark.parametrize(("group", "first"), [("all", 0), ("after_first", 1)])
@pytest.mark.parametrize("mode", ["autoregressive", "teacher_forced"])
def test_a_cell_is_the_mean_over_seeds_with_the_interval_over_videos(made, mode, group, first):
    shown = build([made("baseline", seed) for seed in (0, 1, 2)] + [made("concat")])
    for key, seeds in (("baseline", (0, 1, 2)), ("concat", (0,))):
        for metric in METRICS:
            expected = t_interval(of_videos(mode, key, seeds, metric, first))
            assert numbers(shown.cells[key, mode, group][metric]) == pytest.approx(expected, rel=1e-4)
            values = of_videos(mode, key, seeds, metric, first) - of_videos("mean_image", key, seeds, metric, first)
            assert numbers(shown.margins[key, mode, group][metric]) == pytest.approx(t_interval(values), rel=1e-4)


def test_every_chosen_row_is_there_also_without_an_experiment(made):
    shown = build([made("baseline"), made("concat", 0), made("concat", 1)])
    for mode in ("autoregressive", "teacher_forced"):
        lines = [line for line in shown.lines if line.mode == mode]
        assert [line.key for line in lines if line.kind in rows.KINDS] == [row.key for row in ALL]
        by_key = {line.key: line for line in lines}
        assert {key: line.seeds for key, line in by_key.items() if line.seeds} == {
            "baseline": 1,
            "concat": 2,
            "concat:wrong_previous": 2,
            "concat:no_previous": 2,
        }
        there = {line.key for line in lines if line.kind in rows.KINDS and not line.is_missing}
        assert there == {"untouched", "baseline", "concat"}
    assert shown.cells["text_pooling", "autoregressive", "all"]["psnr"] == dict.fromkeys(("mean", "low", "high"))
    assert not [line for line in build([made("concat")], chosen=rows.select(["concat"])).lines if line.is_missing]


def test_the_untouched_backbone_is_sampled_as_in_the_paper(made):
    """Rows with another scheduler have the backbone's images of that scheduler."""
    other = replace(made("latent-dpm", 0), images=made("latent-dpm", 0).images.assign(psnr=-1.0))
    for found in ([made("concat", 0), other], [other, made("concat", 0)]):
        assert build(found).cells["untouched", "autoregressive", "all"]["psnr"]["mean"] > 0


def test_untouched_needs_no_experiment_of_its_own(made):
    shown = build([made("concat", 0), made("baseline", 1)])
    expected = np.mean(
        [level("untouched_backbone", "concat", seed, "psnr", v, s) for seed, v, s in np.ndindex(2, 6, 3)]
    )
    assert shown.cells["untouched", "teacher_forced", "all"]["psnr"]["mean"] == pytest.approx(expected, rel=1e-4)


def test_p_values_are_those_of_all_flips_of_the_family(made):
    """Brute force over all 64 assignments of signs, every comparison by its own loop."""
    shown = build([made(key) for key in SOME])
    pairs = [
        ("concat", "baseline"),
        ("attend_to_image", "baseline"),
        ("concat", "text_only"),
        ("attend_to_image", "text_only"),
        ("concat-cycle", "concat"),
    ]
    tested = [(a, b, metric) for a, b in pairs for metric in METRICS]
    apart = {
        (a, b, metric): of_videos("autoregressive", a, (0,), metric) - of_videos("autoregressive", b, (0,), metric)
        for a, b, metric in tested
    }

    def statistic(values: np.ndarray, signs: tuple) -> float:
        return abs(sum(s * v for s, v in zip(signs, values, strict=True))) / sum(v**2 for v in values) ** 0.5

    flips = list(itertools.product((1, -1), repeat=VIDEOS))
    largest = [max(statistic(values, signs) for values in apart.values()) for signs in flips]
    assert [(one.key, one.metric) for one in shown.comparisons] == [(a, metric) for a, _, metric in tested]
    for one, key in zip(shown.comparisons, tested, strict=True):
        observed = statistic(apart[key], (1,) * VIDEOS)
        assert one.p == pytest.approx(np.mean([most >= observed * (1 - 1e-9) for most in largest]))
        assert numbers(one.difference) == pytest.approx(t_interval(apart[key]), rel=1e-4)
        assert one.is_better == ((apart[key].mean() > 0) == (one.metric == "psnr"))
        assert one.stars == ("*" if one.p < 0.05 else ""), "six videos can earn one star, p = 1/32, and no more"
    assert {one.stars for one in shown.comparisons} == {"*", ""}


def test_seeds_are_paired(made):
    """A row with one seed is compared with that seed of the other."""
    shown = build([made("baseline", seed) for seed in (0, 1, 2)] + [made("concat", seed) for seed in (1, 2)])
    [one] = [one for one in shown.comparisons if one.metric == "psnr"]
    expected = of_videos("autoregressive", "concat", (1, 2), "psnr") - of_videos(
        "autoregressive", "baseline", (1, 2), "psnr"
    )
    assert one.difference["mean"] == pytest.approx(expected.mean(), rel=1e-4)
    by_seed = [
        np.mean([level("autoregressive", k, s, "psnr", v, t) for v, t in np.ndindex(6, 3)])
        for s in (1, 2)
        for k in ("concat", "baseline")
    ]
    assert one.seeds == pytest.approx([by_seed[0] - by_seed[1], by_seed[2] - by_seed[3]])
    assert not build([made("baseline", 0), made("concat", 1)]).comparisons, "no seed in common"


def test_variances_are_those_of_the_planted_effects(made):
    """Seeds add 0.1 a seed to every image, so nothing is left over; of videos, the variance of their parts."""
    shown = build([made("concat", seed) for seed in (0, 1, 2)])
    parts = shown.variances["concat"]["psnr"]
    assert parts["seed"] == pytest.approx(np.var([0, 0.1, 0.2], ddof=1), rel=1e-6)
    assert parts["video"] == pytest.approx(
        np.var(of_videos("autoregressive", "concat", (0,), "psnr"), ddof=1), rel=1e-6
    )
    assert parts["rest"] == pytest.approx(0, abs=1e-9)
    assert build([made("concat")]).variances == {}


def test_systems_are_rows_and_those_of_other_videos_are_left_out_by_name(made):
    mine = images_of("concat", 0, ["autoregressive", "teacher_forced"])
    systems = {
        "peer": table.System(mine, "abc"),
        "unsaid": table.System(mine),
        "elsewhere": table.System(mine, "another hash"),
        "short": table.System(mine[mine.video_id != "5"], "abc"),
    }
    shown = build([made("baseline")], ("a row: not run",), systems)
    assert {line.key for line in shown.lines if line.kind == "system"} == {"system:peer", "system:unsaid"}
    assert shown.missing[0] == "a row: not run"
    assert [line.split(":")[0] for line in shown.missing[1:]] == ["system elsewhere", "system short"]
    expected = t_interval(of_videos("teacher_forced", "concat", (0,), "psnr"))
    assert numbers(shown.cells["system:peer", "teacher_forced", "all"]["psnr"]) == pytest.approx(expected, rel=1e-4)


def test_systems_are_read_from_their_folder(tmp_path):
    for name, result in (("a", {"experiment": {"data_hash": "abc"}}), ("b", {"rows": {}}), ("c", None)):
        (tmp_path / name).mkdir()
        images_of("concat", 0, ["autoregressive"]).to_csv(tmp_path / name / "images.csv", index=False)
        if result is not None:
            (tmp_path / name / "evaluation.json").write_text(json.dumps(result))
    read = table.read_systems(tmp_path)
    assert {name: system.data_hash for name, system in read.items()} == {"a": "abc", "b": None, "c": None}
    assert read["a"].images.video_id.tolist()[:2] == ["0", "0"]
    assert table.read_systems(tmp_path / "absent") == {}


def test_csv_has_every_number_once(made):
    shown = build([made("baseline"), made("concat")])
    read = pd.read_csv(io.StringIO(table.dump(shown)))
    keys = ["row", "mode", "steps", "metric"]
    assert not read.duplicated(keys).any()
    assert len(read) == len(shown.lines) * 2 * len(METRICS)
    for line in read[read.row == "concat"].itertuples():
        entry = shown.cells[line.row, line.mode, line.steps][line.metric]
        margin = shown.margins[line.row, line.mode, line.steps][line.metric]
        assert [line.mean, line.low, line.high] == numbers(entry)
        over = [line.over_mean_image_mean, line.over_mean_image_low, line.over_mean_image_high]
        assert over == numbers(margin)
        assert (line.images, line.videos) == (len(range(STEPS)) * VIDEOS - (line.steps != "all") * VIDEOS, VIDEOS)
    compared = pd.read_csv(io.StringIO(table.dump_comparisons(shown)))
    assert compared.p.tolist() == [one.p for one in shown.comparisons]


def test_without_experiments_there_is_no_table():
    with pytest.raises(InputError, match="table1 run"):
        build([])

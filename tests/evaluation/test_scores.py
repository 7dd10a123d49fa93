import json
import math

import numpy as np
import pandas as pd
import pytest

from recipevis.core import files
from recipevis.data.tables.samples import read_samples
from recipevis.errors import InputError
from recipevis.evaluation import intervals, metrics, rows, scores
from tests.evaluation.conftest import PIXELS, Means, plain


def score(generated, work="work", **changes):
    folder = generated / work
    folder.mkdir(exist_ok=True)
    mean = np.full((PIXELS, PIXELS, 3), 50, np.uint8)
    settings = {"mean": mean, "blank": "white", "seed": 0, "encoders": {"clip": Means()}} | changes
    return scores.score(read_samples(generated / "samples.csv"), generated, work=folder, **settings)


@pytest.fixture
def scored(generated):
    return score(generated)


def psnr_of(offset):
    return min(20 * math.log10(255 / abs(offset)), 60) if offset else 60


def test_every_set_of_images_is_scored_against_the_ground_truth(scored):
    table = scored.table.set_index(["picture", "sample_id"]).sort_index()
    assert table.psnr["autoregressive", "v0_02"] == pytest.approx(psnr_of(5))
    assert table.psnr["teacher_forced", "v2_01"] == pytest.approx(psnr_of(3))
    assert table.psnr["wrong_previous", "v2_00"] == pytest.approx(psnr_of(7))
    assert table.psnr["untouched_backbone", "v2_00"] == pytest.approx(psnr_of(9))
    assert table.psnr["vae_round_trip", "v2_00"] == 60
    assert table.psnr["mean_image", "v0_01"] == pytest.approx(psnr_of(50 - 21))
    assert table.psnr["copy_previous", "v0_01"] == pytest.approx(psnr_of(1))
    assert table.psnr["copy_previous", "v0_00"] == pytest.approx(psnr_of(255 - 20))  # a blank image, white
    assert table.clip_l2["autoregressive", "v0_02"] == pytest.approx(5 * math.sqrt(3), rel=1e-6)
    assert table.clip_cosine["autoregressive", "v0_02"] == pytest.approx(0, abs=1e-9)
    assert table.clip_norm["autoregressive", "v0_02"] == pytest.approx(22 * math.sqrt(3), rel=1e-6)
    assert "v1_01" not in table.index.get_level_values("sample_id")  # generated, but it has no ground truth
    assert set(table.groupby("picture").size()) == {6}
    assert not scored.vectors  # no set metric needs them


def test_the_columns_of_the_table_are_a_contract(generated):
    table = score(generated, encoders={"clip": Means(), "encoder": Means()}).table
    of_encoders = [f"{encoder}_{name}" for encoder in ("clip", "encoder") for name in ("l2", "cosine", "norm")]
    kept = ["picture", "sample_id", "video_id", "step", *of_encoders, "psnr", "ssim", "ssim_uniform"]
    assert [name for name in table if name in kept] == kept


def test_a_first_step_can_be_black(generated):
    table = score(generated, blank="black").table.set_index(["picture", "sample_id"])
    assert table.psnr["copy_previous", "v0_00"] == pytest.approx(psnr_of(20))


def test_a_baseline_that_needs_another_recipe_is_empty_without_one(generated):
    samples = pd.read_csv(generated / "samples.csv", dtype=str, keep_default_na=False)
    samples[samples.video_id == "v0"].to_csv(generated / "samples.csv", index=False)
    results = scores.summarise(score(generated), 100, 0)
    entry = results["other_recipe"]["autoregressive"]["all"]
    assert (entry["images"], entry["videos"]) == (0, 0)
    assert entry["psnr"] == {"mean": None, "low": None, "high": None}
    one = results["model"]["autoregressive"]["all"]
    assert one["videos"] == 1
    assert one["psnr"]["low"] is None
    assert one["psnr"]["mean"] == intervals.rounded(psnr_of(5))
    json.dumps(results, allow_nan=False)


def test_rows_and_groups(scored):
    results = scores.summarise(scored, 100, 0)
    assert list(results) == [
        "model",
        "wrong_previous",
        "copy_previous",
        "mean_image",
        "other_recipe",
        "untouched_backbone",
        "vae_round_trip",
    ]
    assert all(list(row) == ["autoregressive", "teacher_forced"] for row in results.values())
    assert all(row["autoregressive"] == row["teacher_forced"] for name, row in results.items() if name != "model")
    for row in results.values():
        for mode in row.values():
            assert (mode["all"]["images"], mode["all"]["videos"]) == (6, 3)
            assert (mode["after_first"]["images"], mode["after_first"]["videos"]) == (3, 2)
            assert {"clip_l2", "clip_cosine", "psnr", "ssim", "ssim_uniform"} < set(mode["all"])
    assert results["vae_round_trip"]["autoregressive"]["all"]["psnr_capped"] == 6
    assert results["model"]["autoregressive"]["all"]["psnr_capped"] == 0
    all_steps = [psnr_of(235), psnr_of(1), psnr_of(1), psnr_of(215), psnr_of(195), psnr_of(1)]
    copied = results["copy_previous"]["autoregressive"]
    assert copied["all"]["psnr"]["mean"] == pytest.approx(np.mean(all_steps), rel=1e-4)
    assert copied["after_first"]["psnr"]["mean"] == pytest.approx(psnr_of(1), rel=1e-4)


def test_headline_drift_and_norms(scored):
    headline = scores.headline(scores.summarise(scored, 100, 0))
    assert list(headline) == [*metrics.headline(), "teacher_forced"]
    assert list(headline["teacher_forced"]) == metrics.headline()
    assert headline["psnr"] == pytest.approx(psnr_of(5), rel=1e-4)
    assert headline["teacher_forced"]["psnr"] == pytest.approx(psnr_of(3), rel=1e-4)
    drift = scores.drift(scored)
    names = list(headline["teacher_forced"])
    assert drift.columns.tolist() == ["step", "images", *names, *(f"teacher_forced_{name}" for name in names)]
    assert drift.step.tolist() == [0, 1, 2]
    assert drift.images.tolist() == [3, 2, 1]
    assert drift.teacher_forced_psnr.tolist() == [intervals.rounded(psnr_of(3))] * 3
    levels = [20, 21, 22, 40, 60, 61]
    assert scores.norms(scored) == {"clip_norm": intervals.rounded(np.mean(levels) * math.sqrt(3))}


def test_a_second_encoder_adds_its_own_metrics(generated):
    scored = score(generated, encoders={"clip": Means(), "encoder": Means()})
    assert scored.table.encoder_l2.tolist() == scored.table.clip_l2.tolist()
    assert "encoder_cosine" in scores.summarise(scored, 100, 0)["mean_image"]["autoregressive"]["all"]
    assert list(scores.norms(scored)) == ["clip_norm", "encoder_norm"]


def test_margins_are_paired(scored):
    margins = scores.margins(scored, 500, 0)
    results = scores.summarise(scored, 500, 0)
    assert margins.keys() == results.keys() - {"model"}
    for row, modes in margins.items():
        for mode, groups in modes.items():
            for group, entry in groups.items():
                own, other = results["model"][mode][group], results[row][mode][group]
                for metric in ("psnr", "ssim", "clip_l2"):
                    assert entry[metric]["mean"] == pytest.approx(own[metric]["mean"] - other[metric]["mean"], abs=0.01)
                assert (entry["images"], entry["videos"]) == (own["images"], own["videos"])
    constant = margins["untouched_backbone"]["autoregressive"]["all"]["psnr"]  # 5 levels against 9, on every image
    assert constant["low"] == constant["high"] == constant["mean"] == intervals.rounded(psnr_of(5) - psnr_of(9))


def distance_of_means(generated, truth):
    """A set metric with a closed form: the squared distance of the mean vectors."""
    return float(((generated.mean(0) - truth.mean(0)) ** 2).sum())


@pytest.fixture
def set_metrics(monkeypatch):
    """Two registered set metrics, one of each encoder's vectors and one of its own features."""
    about = {"kind": "set", "function": distance_of_means, "higher_is_better": False}
    registered = (
        metrics.Metric("means", "distance of means", description="of {encoder}", **about),
        metrics.Metric("red", "red", description="mean red", features=lambda image: image[0, 0, :1] / 1.0, **about),
    )
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, *registered))


def test_a_registered_set_metric_stands_in_every_result(generated, set_metrics):
    encoder = Means()
    scored = score(generated, encoders={"clip": encoder})
    assert encoder.encoded == 6 * (1 + 8)  # each image once
    results, margins = scores.summarise(scored, 200, 0), scores.margins(scored, 200, 0)
    for group, (levels, copied) in {
        "all": ([20, 21, 22, 40, 60, 61], [255, 20, 21, 255, 255, 60]),
        "after_first": ([21, 22, 61], [20, 21, 60]),
    }.items():
        model = results["model"]["autoregressive"][group]
        assert model["red"] == {"mean": 25, "low": 25, "high": 25}  # 5 levels, whichever videos are resampled
        assert model["clip_means"] == {"mean": 75, "low": 75, "high": 75}
        square = (np.mean(levels) - np.mean(copied)) ** 2
        assert results["copy_previous"]["autoregressive"][group]["red"]["mean"] == pytest.approx(square, rel=1e-4)
        margin = margins["copy_previous"]["autoregressive"][group]
        assert margin["red"]["mean"] == pytest.approx(25 - square, rel=1e-4)
        assert margin["red"]["low"] <= margin["red"]["mean"] <= margin["red"]["high"]
    mean_image = results["mean_image"]["autoregressive"]["all"]["red"]
    assert mean_image["low"] < mean_image["mean"] < mean_image["high"]
    assert scores.headline(results)["teacher_forced"]["red"] == 9
    assert "red" not in scores.drift(scored)
    assert not any(name.startswith("encoder") for name in model)  # there is no second encoder
    assert list(model)[-3:] == ["images", "videos", "psnr_capped"]
    json.dumps([results, margins], allow_nan=False)


@pytest.mark.usefixtures("set_metrics")
def test_an_interrupted_run_resumes_and_ends_with_the_same_scores(generated, monkeypatch):
    monkeypatch.setattr(scores, "_CHUNK", 2)
    whole = score(generated)
    encoder = Means()
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_json", interrupted(files.write_json, iter([None, KeyboardInterrupt()])))
        with pytest.raises(KeyboardInterrupt):
            score(generated, "again", encoders={"clip": encoder})
    before = encoder.encoded
    resumed = score(generated, "again", encoders={"clip": encoder})
    pd.testing.assert_frame_equal(resumed.table, whole.table, check_exact=True)
    assert scores.summarise(resumed, 50, 0) == scores.summarise(whole, 50, 0)
    assert encoder.encoded - before == 4 * 9  # two of three chunks, nine images per sample


def interrupted(function, calls):
    def wrapper(*arguments):
        error = next(calls)
        if error:
            raise error
        function(*arguments)

    return wrapper


def test_images_of_another_step_score_worse(generated):
    """Off by one step, every image's level is further from the ground truth."""
    right = scores.headline(scores.summarise(score(generated), 100, 0))
    folder = generated / "autoregressive"
    for sample in ("v0_00", "v2_00"):
        (folder / f"{sample[:3]}01.png").replace(folder / f"{sample}.png")
    plain(folder / "v0_01.png", 27 + 20, 47, 47)
    plain(folder / "v2_01.png", 80, 80, 80)
    shifted = scores.headline(scores.summarise(score(generated, "shifted"), 100, 0))
    assert right["psnr"] - shifted["psnr"] > 1
    assert right["teacher_forced"] == shifted["teacher_forced"]


def test_the_table_is_ordered_to_be_read(scored):
    results = scores.summarise(scored, 100, 0)
    table = rows.table(results, "after_first")
    assert [(line.row, line.mode) for line, _ in table] == [
        ("vae_round_trip", None),
        ("model", "autoregressive"),
        ("model", "teacher_forced"),
        ("wrong_previous", None),
        ("copy_previous", None),
        ("mean_image", None),
        ("other_recipe", None),
        ("untouched_backbone", None),
    ]
    assert table[2][1] == results["model"]["teacher_forced"]["after_first"]


def test_bad_samples_are_named(generated):
    with pytest.raises(InputError, match=r"absent\.csv"):
        read_samples(generated / "absent.csv")
    (generated / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"other\.csv"):
        read_samples(generated / "other.csv")
    pd.read_csv(generated / "samples.csv").assign(scored=0).to_csv(generated / "none.csv", index=False)
    with pytest.raises(InputError, match=r"none\.csv"):
        read_samples(generated / "none.csv")
    (generated / "vae_round_trip" / "v0_00.png").unlink()
    with pytest.raises(InputError, match=r"v0_00\.png"):
        score(generated)

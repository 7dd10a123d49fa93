import json
import math

import numpy as np
import pandas as pd
import pytest

from recipevis.core import files
from recipevis.data.tables.samples import read_samples
from recipevis.errors import InputError
from recipevis.evaluation import intervals, metrics, reference, rows, scores, summary
from tests.evaluation.conftest import Means, plain, score


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
    assert table.clip_projected_l2["autoregressive", "v0_02"] == pytest.approx(10 * math.sqrt(3), rel=1e-6)
    assert table.psnr["nearest_training", "v0_02"] == 60
    assert "v1_01" not in table.index.get_level_values("sample_id")  # generated, but it has no ground truth
    assert set(table.groupby("picture").size()) == {6}
    assert "untouched_native" not in table.index  # its folder is empty


def test_the_columns_of_the_table_are_a_contract(generated):
    table = score(generated, encoders=dict.fromkeys(("clip", "encoder", "image_encoder"), Means())).table
    spaces = ("clip", "clip_projected", "encoder", "image_encoder")
    of_encoders = [f"{encoder}_{name}" for encoder in spaces for name in ("l2", "cosine")]
    others = ["psnr", "ssim", "ssim_uniform", "sharpness", "copy_rate"]
    others += ["step_faithfulness", "goal_faithfulness", "consistency", "absolute_consistency"]
    assert list(table) == ["picture", "sample_id", "video_id", "step", *of_encoders, *others]


def test_a_first_step_can_be_black(generated):
    table = score(generated, blank="black").table.set_index(["picture", "sample_id"])
    assert table.psnr["copy_previous", "v0_00"] == pytest.approx(psnr_of(20))


def test_a_baseline_that_needs_another_recipe_is_empty_without_one(generated):
    samples = pd.read_csv(generated / "samples.csv", dtype=str, keep_default_na=False)
    samples[samples.video_id == "v0"].assign(other_image="").to_csv(generated / "samples.csv", index=False)
    results = summary.summarise(score(generated), 100, 0)
    entry = results["other_recipe"]["autoregressive"]["all"]
    assert (entry["images"], entry["videos"]) == (0, 0)
    assert entry["psnr"] == {"mean": None, "low": None, "high": None}
    one = results["model"]["autoregressive"]["all"]
    assert one["videos"] == 1
    assert one["psnr"]["low"] is None
    assert one["psnr"]["mean"] == intervals.rounded(psnr_of(5))
    json.dumps(results, allow_nan=False)


def test_rows_and_groups(scored):
    results = summary.summarise(scored, 100, 0)
    assert list(results) == [
        "model",
        "wrong_previous",
        "no_previous",
        "copy_previous",
        "mean_image",
        "other_recipe",
        "nearest_training",
        "untouched_backbone",
        "untouched_native",
        "vae_round_trip",
    ]
    empty = results.pop("untouched_native")["autoregressive"]["all"]
    assert (empty["images"], empty["psnr"]["mean"]) == (0, None)
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


def test_headline_and_drift(scored):
    headline = summary.headline(summary.summarise(scored, 100, 0))
    there = [name for name in metrics.headline() if not name.startswith("image_encoder") and "faithful" not in name]
    assert list(headline) == [*there, "teacher_forced"]
    assert list(headline["teacher_forced"]) == there
    assert headline["psnr"] == pytest.approx(psnr_of(5), rel=1e-4)
    assert headline["teacher_forced"]["psnr"] == pytest.approx(psnr_of(3), rel=1e-4)
    drift = summary.drift(scored, 100, 0)
    assert {"step", "images", *there, *(f"teacher_forced_{name}" for name in there)} < set(drift)
    assert drift.step.tolist() == [0, 1, 2]
    assert drift.images.tolist() == [3, 2, 1]
    assert drift.teacher_forced_psnr.tolist() == [intervals.rounded(psnr_of(3))] * 3
    assert drift.drift_psnr.tolist() == [intervals.rounded(psnr_of(5) - psnr_of(3))] * 3
    assert drift.drift_psnr_low.isna().tolist() == [False, False, True]  # one video has a third step


def test_means_of_recipes(scored):
    means = summary.recipes(scored)
    table = scored.table[scored.table.picture == "teacher_forced"]
    assert list(means) == ["v0", "v1", "v2"]
    for video, of_video in means.items():
        assert list(of_video) == ["autoregressive", "teacher_forced"]
        psnr = [row.psnr for row in table.itertuples() if row.video_id == video]
        assert of_video["teacher_forced"]["psnr"] == pytest.approx(sum(psnr) / len(psnr), rel=1e-4)
    assert means["v1"]["autoregressive"]["psnr"] == pytest.approx(psnr_of(5), rel=1e-4)
    json.dumps(means, allow_nan=False)


def test_norms_are_those_of_the_scored_frames(generated):
    samples = read_samples(generated / "samples.csv")
    training = pd.DataFrame({"recipe_type": ["a"], "sentence": ["chop"]})
    truth = reference.measure(samples, training, dict.fromkeys(("clip", "encoder"), Means()), {})
    mean = np.mean([20, 21, 22, 40, 60, 61]) * math.sqrt(3)
    expected = {"clip_norm": mean, "clip_projected_norm": 2 * mean, "encoder_norm": 2 * mean}
    assert summary.norms(truth, samples) == {name: intervals.rounded(value) for name, value in expected.items()}


def test_the_reference_is_read_as_it_was_written(generated, tmp_path):
    samples = read_samples(generated / "samples.csv")
    training = pd.DataFrame({"recipe_type": ["a", "b"], "sentence": ["chop", "stir"]})
    truth = reference.measure(samples, training, dict.fromkeys(("clip", "encoder"), Means()), {})
    truth.write(tmp_path / "reference")
    again = reference.Reference.read(tmp_path / "reference", {})
    for name in ("sentences", "types"):
        assert list(getattr(again, name)) == list(getattr(truth, name))
    assert again.frames.keys() == truth.frames.keys()
    for name, vectors in truth.frames.items():
        assert vectors.keys() == again.frames[name].keys()
        assert all(np.array_equal(vector, again.frames[name][path]) for path, vector in vectors.items())


def test_scores_are_read_as_they_were_written(generated, set_metrics, tmp_path):
    scored = score(generated)
    scored.write(tmp_path / "scores")
    again = scores.Scores.read(tmp_path / "scores")
    assert again.sets == json.loads(json.dumps(scored.sets))
    assert summary.summarise(again, 50, 0) == summary.summarise(scored, 50, 0)


def test_margins_are_paired(scored):
    margins = summary.margins(scored, 500, 0)
    results = summary.summarise(scored, 500, 0)
    assert margins.keys() == results.keys() - {"model"}
    del margins["untouched_native"]  # has no images
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
        metrics.Metric(
            "red", "red", description="mean red", features=lambda image: image[0, 0, :1] / 1.0, headline=True, **about
        ),
    )
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, *registered))


def test_a_registered_set_metric_stands_in_every_result(generated, set_metrics):
    encoder = Means()
    scored = score(generated, encoders={"clip": encoder})
    assert encoder.encoded < 7 + 6 * 10 + 1  # equal images once
    results, margins = summary.summarise(scored, 200, 0), summary.margins(scored, 200, 0)
    for group, (levels, copied) in {
        "all": ([20, 21, 22, 40, 60, 61], [255, 20, 21, 255, 255, 60]),
        "after_first": ([21, 22, 61], [20, 21, 60]),
    }.items():
        model = results["model"]["autoregressive"][group]
        assert model["red"] == {"mean": 25, "low": 25, "high": 25}  # 5 levels, whichever videos are left out
        assert model["clip_means"] == {"mean": 75, "low": 75, "high": 75}
        square = (np.mean(levels) - np.mean(copied)) ** 2
        assert results["copy_previous"]["autoregressive"][group]["red"]["mean"] == pytest.approx(square, rel=1e-4)
        margin = margins["copy_previous"]["autoregressive"][group]
        assert margin["red"]["mean"] == pytest.approx(25 - square, rel=1e-4)
        assert margin["red"]["low"] <= margin["red"]["mean"] <= margin["red"]["high"]
    mean_image = results["mean_image"]["autoregressive"]["all"]["red"]
    assert mean_image["low"] < mean_image["mean"] < mean_image["high"]
    assert summary.headline(results)["teacher_forced"]["red"] == 9
    assert "red" not in summary.drift(scored, 50, 0)
    assert not any(name.startswith(("encoder", "image_encoder")) for name in model)  # there is none
    assert list(model)[-3:] == ["images", "videos", "psnr_capped"]
    json.dumps([results, margins], allow_nan=False)


@pytest.mark.usefixtures("set_metrics")
def test_an_interrupted_run_resumes_and_ends_with_the_same_scores(generated, monkeypatch):
    monkeypatch.setattr(scores, "_CHUNK", 1)
    whole = score(generated)
    encoder = Means()
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_json", interrupted(files.write_json, iter([None, KeyboardInterrupt()])))
        with pytest.raises(KeyboardInterrupt):
            score(generated, "again", encoders={"clip": encoder})
    resumed = score(generated, "again", encoders={"clip": encoder})
    pd.testing.assert_frame_equal(resumed.table, whole.table, check_exact=True)
    assert summary.summarise(resumed, 50, 0) == summary.summarise(whole, 50, 0)
    assert sorted(path.name for path in (generated / "again").glob("*.json")) == [
        "000000.json",
        "000001.json",
        "000002.json",
    ]


def interrupted(function, calls):
    def wrapper(*arguments):
        error = next(calls)
        if error:
            raise error
        function(*arguments)

    return wrapper


def test_images_of_another_step_score_worse(generated):
    """Off by one step, every image's level is further from the ground truth."""
    right = summary.headline(summary.summarise(score(generated), 100, 0))
    folder = generated / "autoregressive"
    for sample in ("v0_00", "v2_00"):
        (folder / f"{sample[:3]}01.png").replace(folder / f"{sample}.png")
    plain(folder / "v0_01.png", 27 + 20, 47, 47)
    plain(folder / "v2_01.png", 80, 80, 80)
    shifted = summary.headline(summary.summarise(score(generated, "shifted"), 100, 0))
    assert right["psnr"] - shifted["psnr"] > 1
    assert right["teacher_forced"] == shifted["teacher_forced"]


def steps_apart(generated, before, truth, truth_before):
    """A metric of neighbouring steps that can be written down: what each image is brighter by, in levels."""
    return float(generated.mean() - before.mean()) - 100 * float(truth.mean() - truth_before.mean())


def test_a_step_is_compared_with_the_image_that_it_followed(generated, monkeypatch):
    """The model's own image where it generates autoregressively, the ground truth otherwise; nothing at first steps."""
    registered = metrics.Metric("apart", "apart", "change", steps_apart, None, "brightness from step to step")
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, registered))
    table = score(generated).table.set_index(["picture", "sample_id"]).sort_index()
    assert table.apart["autoregressive", "v0_01"] == 1 - 100  # 26 after 25
    assert table.apart["teacher_forced", "v0_01"] == (24 - 20) - 100
    assert table.apart["copy_previous", "v0_02"] == 0 - 100
    assert table.apart[table.step == 0].isna().all()


def of_three(image, own, others):
    return float(image[0] + 1000 * own[0] + 1e6 * others[:, 0].sum())


def test_an_image_is_compared_with_sentences_of_its_recipe_and_with_recipe_types(generated, monkeypatch):
    registered = [
        metrics.Metric(kind, kind, kind, of_three, True, "by {encoder}", encoders=("encoder",))
        for kind in ("sentence", "recipe_type")
    ]
    monkeypatch.setattr(metrics, "METRICS", (*metrics.METRICS, *registered))
    encoders = {"clip": Means(), "encoder": Means()}
    table = score(generated, encoders=encoders).table.set_index(["picture", "sample_id"]).sort_index()
    lengths = [9, 10, 11]  # of "stir, NA ", with an o a step
    assert table.sentence["teacher_forced", "v0_01"] == 2 * 24 + 1000 * 10 + 1e6 * (9 + 11)
    assert table.sentence["teacher_forced", "v1_00"] == 2 * 43 + 1000 * 9 + 1e6 * 10  # its second step is not scored
    assert len(lengths) == 3
    last = table.recipe_type.dropna()
    assert {sample for _, sample in last.index} == {"v0_02", "v2_01"}  # v1's last step is not scored
    without_text = score(generated, "again", encoders={"clip": Means()}).table
    assert not {"sentence", "recipe_type"} & set(without_text)


def test_a_control_covers_fewer_recipes(generated):
    samples = pd.read_csv(generated / "samples.csv", dtype=str, keep_default_na=False)
    samples.loc[samples.video_id == "v2", "control"] = "0"
    samples.to_csv(generated / "samples.csv", index=False)
    scored = score(generated, encoders=dict.fromkeys(("clip", "encoder"), Means()))
    results, margins = summary.summarise(scored, 100, 0), summary.margins(scored, 100, 0)
    assert results["no_previous"]["autoregressive"]["all"]["images"] == 4
    margin = margins["no_previous"]["autoregressive"]["all"]
    assert (margin["images"], margin["videos"]) == (4, 2)
    assert margin["psnr"]["mean"] == pytest.approx(psnr_of(5) - psnr_of(11), abs=1e-3)
    assert "encoder_kid" not in margin  # a set of other recipes is no pair
    assert "encoder_kid" in margins["mean_image"]["autoregressive"]["all"]


def test_the_table_is_ordered_to_be_read(scored):
    results = summary.summarise(scored, 100, 0)
    table = rows.table(results, "after_first")
    assert [(line.row, line.mode) for line, _ in table] == [
        ("vae_round_trip", None),
        ("model", "autoregressive"),
        ("model", "teacher_forced"),
        ("wrong_previous", None),
        ("no_previous", None),
        ("copy_previous", None),
        ("mean_image", None),
        ("other_recipe", None),
        ("nearest_training", None),
        ("untouched_backbone", None),
    ]  # without the untouched backbone at its own size, which has no images
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

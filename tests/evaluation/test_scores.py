import json
import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from recipevis.core import files
from recipevis.data.tables.samples import read_samples
from recipevis.errors import InputError
from recipevis.evaluation import metrics, scores

PIXELS = 16


class Means:
    """An encoder whose vectors can be written down: the mean of each channel."""

    def __init__(self):
        self.seen = 0

    def pooled(self, pictures):
        self.seen += len(pictures)
        return np.stack([picture.mean((0, 1)) for picture in pictures]).astype(np.float32)


def plain(path, *colour):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (PIXELS, PIXELS), colour).save(path)
    return str(path)


@pytest.fixture
def drawn(tmp_path):
    """Three recipes of two types; a step has grey level 20 (video + 1) + step, each drawn picture is off by its own."""
    offsets = {
        "autoregressive": 5,
        "teacher_forced": 3,
        "wrong_previous": 7,
        "untouched_backbone": 9,
        "vae_round_trip": 0,
    }
    rows = []
    for video, (recipe_type, steps) in enumerate([("a", 3), ("a", 2), ("b", 2)]):
        previous = ""
        for step in range(steps):
            sample = f"v{video}_{step:02d}"
            level = 20 * (video + 1) + step
            frame = plain(tmp_path / "frames" / f"{sample}.png", level, level, level)
            scored = (video, step) != (1, 1)
            for name, offset in offsets.items():
                if scored or name == "autoregressive":
                    plain(tmp_path / "samples" / name / f"{sample}.png", *3 * [level + offset])
            values = [
                sample,
                recipe_type,
                f"v{video}",
                step,
                "stir, NA",
                frame if scored else "",
                previous,
                int(scored),
            ]
            rows.append(values)
            previous = frame
    columns = ["sample_id", "recipe_type", "video_id", "step", "sentence", "image", "previous_image", "scored"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "samples" / "samples.csv", index=False)
    return tmp_path / "samples"


def scored(drawn, work="work", **changes):
    samples = read_samples(drawn / "samples.csv")
    folder = drawn / work
    folder.mkdir(exist_ok=True)
    mean = np.full((PIXELS, PIXELS, 3), 50, np.uint8)
    settings = {"mean": mean, "blank": "white", "seed": 0, "encoders": {"clip": Means()}} | changes
    return scores.score(samples, drawn, work=folder, **settings)


def psnr_of(offset):
    return min(20 * math.log10(255 / abs(offset)), 60) if offset else 60


def test_every_row_is_scored_against_the_true_frame(drawn):
    scores = scored(drawn).set_index(["picture", "sample_id"]).sort_index()
    assert scores.psnr["autoregressive", "v0_02"] == pytest.approx(psnr_of(5))
    assert scores.psnr["teacher_forced", "v2_01"] == pytest.approx(psnr_of(3))
    assert scores.psnr["wrong_previous", "v2_00"] == pytest.approx(psnr_of(7))
    assert scores.psnr["untouched_backbone", "v2_00"] == pytest.approx(psnr_of(9))
    assert scores.psnr["vae_round_trip", "v2_00"] == 60
    assert scores.psnr["mean_image", "v0_01"] == pytest.approx(psnr_of(50 - 21))
    assert scores.psnr["copy_previous", "v0_01"] == pytest.approx(psnr_of(1))
    assert scores.psnr["copy_previous", "v0_00"] == pytest.approx(psnr_of(255 - 20))  # a blank image, white
    assert scores.clip_l2["autoregressive", "v0_02"] == pytest.approx(5 * math.sqrt(3), rel=1e-6)
    assert scores.clip_cosine["autoregressive", "v0_02"] == pytest.approx(0, abs=1e-9)
    assert scores.clip_norm["autoregressive", "v0_02"] == pytest.approx(22 * math.sqrt(3), rel=1e-6)
    assert "v1_01" not in scores.index.get_level_values("sample_id")  # drawn, but it has no true frame
    assert set(scores.groupby("picture").size()) == {6}


def test_black_can_stand_before_a_first_step(drawn):
    scores = scored(drawn, blank="black").set_index(["picture", "sample_id"]).sort_index()
    assert scores.psnr["copy_previous", "v0_00"] == pytest.approx(psnr_of(20))


def test_a_floor_that_one_recipe_cant_have_is_empty(drawn):
    samples = pd.read_csv(drawn / "samples.csv", dtype=str, keep_default_na=False)
    samples[samples.video_id == "v0"].to_csv(drawn / "samples.csv", index=False)
    rows = scores.summarise(scored(drawn), 100, 0)
    entry = rows["other_recipe"]["autoregressive"]["all"]
    assert (entry["images"], entry["videos"]) == (0, 0)
    assert entry["psnr"] == {"mean": None, "low": None, "high": None}
    one = rows["model"]["autoregressive"]["all"]
    assert one["videos"] == 1
    assert one["psnr"]["low"] is None  # one video tells nothing about others
    assert one["psnr"]["mean"] == scores.rounded(psnr_of(5))
    json.dumps(rows, allow_nan=False)


def test_rows_and_groups(drawn):
    rows = scores.summarise(scored(drawn), 100, 0)
    assert list(rows) == [
        "model",
        "wrong_previous",
        "copy_previous",
        "mean_image",
        "other_recipe",
        "untouched_backbone",
        "vae_round_trip",
    ]
    assert all(list(row) == ["autoregressive", "teacher_forced"] for row in rows.values())
    assert all(row["autoregressive"] == row["teacher_forced"] for name, row in rows.items() if name != "model")
    for row in rows.values():
        for mode in row.values():
            assert (mode["all"]["images"], mode["all"]["videos"]) == (6, 3)
            assert (mode["after_first"]["images"], mode["after_first"]["videos"]) == (3, 2)
            assert {"clip_l2", "clip_cosine", "psnr", "ssim", "ssim_uniform"} < set(mode["all"])
    assert rows["vae_round_trip"]["autoregressive"]["all"]["psnr_capped"] == 6
    assert rows["model"]["autoregressive"]["all"]["psnr_capped"] == 0
    all_steps = [psnr_of(235), psnr_of(1), psnr_of(1), psnr_of(215), psnr_of(195), psnr_of(1)]
    copied = rows["copy_previous"]["autoregressive"]
    assert copied["all"]["psnr"]["mean"] == pytest.approx(np.mean(all_steps), rel=1e-4)
    assert copied["after_first"]["psnr"]["mean"] == pytest.approx(psnr_of(1), rel=1e-4)


def test_headline_drift_and_norms(drawn):
    scores = scored(drawn)
    rows = scores.summarise(scores, 100, 0)
    headline = scores.headline(rows)
    assert list(headline) == ["clip_l2", "clip_cosine", "psnr", "ssim", "teacher_forced"]
    assert list(headline["teacher_forced"]) == ["clip_l2", "clip_cosine", "psnr", "ssim"]
    assert headline["psnr"] == pytest.approx(psnr_of(5), rel=1e-4)
    assert headline["teacher_forced"]["psnr"] == pytest.approx(psnr_of(3), rel=1e-4)
    drift = scores.drift(scores)
    assert drift.step.tolist() == [0, 1, 2]
    assert drift.images.tolist() == [3, 2, 1]
    assert drift.teacher_forced_psnr.tolist() == [scores.rounded(psnr_of(3))] * 3
    levels = [20, 21, 22, 40, 60, 61]
    assert scores.norms(scores) == {"clip_norm": scores.rounded(np.mean(levels) * math.sqrt(3))}


def test_a_second_encoder_adds_its_own_metrics(drawn):
    scores = scored(drawn, encoders={"clip": Means(), "encoder": Means()})
    assert scores.encoder_l2.tolist() == scores.clip_l2.tolist()
    assert "encoder_cosine" in scores.summarise(scores, 100, 0)["mean_image"]["autoregressive"]["all"]
    assert list(scores.norms(scores)) == ["clip_norm", "encoder_norm"]


def table_of(values_by_video):
    """Scores of one picture whose metrics are all the given values."""
    rows = [
        {"picture": "autoregressive", "sample_id": f"{video}_{index}", "video_id": video, "step": index, "psnr": value}
        for video, values in values_by_video.items()
        for index, value in enumerate(values)
    ]
    return pd.DataFrame(rows)


def summary(values_by_video, resamples=2000):
    scores = table_of(values_by_video)
    return scores.summarise(scores, resamples, 0)["model"]["autoregressive"]["all"]["psnr"]


def test_two_videos_have_the_interval_between_their_means():
    # Two videos drawn anew are twice the first (1/4), both (1/2) or twice the second: 2.5 % and 97.5 % are the ends.
    assert summary({"a": [10, 20, 30], "b": [4]}) == {"mean": 16, "low": 4, "high": 20}


def test_an_image_counts_once_and_a_video_is_drawn_whole():
    random = np.random.default_rng(3)
    videos = {f"v{video}": random.normal(10, 3, random.integers(1, 9)).tolist() for video in range(40)}
    result = summary(videos, 20_000)
    assert result["mean"] == pytest.approx(np.mean([value for values in videos.values() for value in values]), rel=1e-4)
    # The same by hand: draw 40 of the videos, average all of their images; the 2.5 % and 97.5 % quantiles.
    names, means = list(videos), []
    for _ in range(20_000):
        drawn = [videos[names[index]] for index in random.integers(0, 40, 40)]
        means.append(sum(map(sum, drawn)) / sum(map(len, drawn)))
    assert [result["low"], result["high"]] == pytest.approx(np.quantile(means, [0.025, 0.975]).tolist(), abs=0.03)


def test_steps_of_a_video_are_not_independent():
    # Ten equal images of a video say no more than one of them.
    few = summary({f"v{video}": [float(video)] for video in range(20)})
    many = summary({f"v{video}": [float(video)] * 10 for video in range(20)})
    assert few == many
    half = 1.96 * np.std(range(20)) / math.sqrt(20)
    assert (few["high"] - few["low"]) / 2 == pytest.approx(half, rel=0.1)


def test_margins_are_paired(drawn):
    scores = scored(drawn)
    margins = scores.margins(scores, 500, 0)
    rows = scores.summarise(scores, 500, 0)
    assert margins.keys() == rows.keys() - {"model"}
    for row, modes in margins.items():
        for mode, groups in modes.items():
            for group, entry in groups.items():
                own, other = rows["model"][mode][group], rows[row][mode][group]
                for metric in ("psnr", "ssim", "clip_l2"):
                    assert entry[metric]["mean"] == pytest.approx(own[metric]["mean"] - other[metric]["mean"], abs=0.01)
                assert (entry["images"], entry["videos"]) == (own["images"], own["videos"])
    constant = margins["untouched_backbone"]["autoregressive"]["all"]["psnr"]  # 5 against 9 levels, on every image
    assert constant["low"] == constant["high"] == constant["mean"] == scores.rounded(psnr_of(5) - psnr_of(9))


def test_a_paired_interval_is_of_the_difference():
    """Videos differ widely, the two pictures hardly: only the pairs tell them apart."""
    random = np.random.default_rng(0)
    videos = {f"v{video}": random.normal(20, 5, 4) for video in range(30)}
    mine = table_of({video: values + 0.5 + random.normal(0, 0.1, 4) for video, values in videos.items()})
    theirs = table_of(videos).sample(frac=1, random_state=0)
    tables = [table.set_index("sample_id") for table in (mine, theirs)]
    entry = scores.paired(*tables, 0, 1000, 0)
    assert 0.4 < entry["psnr"]["low"] < 0.5 < entry["psnr"]["high"] < 0.6
    assert scores.paired(*tables, 1, 1000, 0)["images"] == 90
    assert scores.paired(tables[0], tables[1].iloc[:50], 0, 1000, 0)["images"] == 50


def test_the_interval_is_the_seeds():
    scores = table_of({f"v{video}": [float(video)] for video in range(20)})
    assert scores.summarise(scores, 100, 0) == scores.summarise(scores, 100, 0)
    assert scores.summarise(scores, 100, 0) != scores.summarise(scores, 100, 1)


def test_an_interrupted_run_goes_on_and_ends_with_the_same_scores(drawn, monkeypatch):
    monkeypatch.setattr(scores, "_CHUNK", 2)
    whole = scored(drawn)
    encoder = Means()
    calls = iter([None, KeyboardInterrupt()])
    monkeypatch.setattr(files, "write_json", interrupted(files.write_json, calls))
    with pytest.raises(KeyboardInterrupt):
        scored(drawn, "again", encoders={"clip": encoder})
    monkeypatch.undo()
    monkeypatch.setattr(scores, "_CHUNK", 2)
    seen = encoder.seen
    resumed = scored(drawn, "again", encoders={"clip": encoder})
    pd.testing.assert_frame_equal(resumed, whole, check_exact=True)
    assert encoder.seen - seen == 4 * 9  # two of three chunks, nine pictures a frame


def interrupted(function, calls):
    def wrapper(*arguments):
        error = next(calls)
        if error:
            raise error
        function(*arguments)

    return wrapper


def test_drawn_pictures_that_belong_to_another_step_score_worse(drawn):
    """Off by one step, every picture's level is further from the truth."""
    right = scores.headline(scores.summarise(scored(drawn), 100, 0))
    forced = drawn / "autoregressive"
    for sample in ("v0_00", "v2_00"):
        (forced / f"{sample[:3]}01.png").replace(forced / f"{sample}.png")
    plain(forced / "v0_01.png", 27 + 20, 47, 47)
    plain(forced / "v2_01.png", 80, 80, 80)
    shifted = scores.headline(scores.summarise(scored(drawn, "shifted"), 100, 0))
    assert right["psnr"] - shifted["psnr"] > 1
    assert right["teacher_forced"] == shifted["teacher_forced"]


def test_the_table_is_ordered_to_be_read(drawn):
    rows = scores.summarise(scored(drawn), 100, 0)
    lines = scores.table(rows, "after_first")
    assert [(line.row, line.mode) for line in lines] == [
        ("vae_round_trip", None),
        ("model", "autoregressive"),
        ("model", "teacher_forced"),
        ("wrong_previous", None),
        ("copy_previous", None),
        ("mean_image", None),
        ("other_recipe", None),
        ("untouched_backbone", None),
    ]
    assert lines[2].entries == rows["model"]["teacher_forced"]["after_first"]


def test_numbers_have_five_significant_digits():
    assert scores.rounded(123456.7) == 123460
    assert scores.rounded(0.0123456) == 0.012346
    assert scores.rounded(None) is None


def test_bad_samples_are_told_in_one_line(drawn):
    with pytest.raises(InputError, match=r"absent\.csv: can't be read"):
        read_samples(drawn / "absent.csv")
    (drawn / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"other\.csv: can't be read"):
        read_samples(drawn / "other.csv")
    samples = pd.read_csv(drawn / "samples.csv")
    samples.assign(scored=0).to_csv(drawn / "none.csv", index=False)
    with pytest.raises(InputError, match="nothing can be scored"):
        read_samples(drawn / "none.csv")
    (drawn / "vae_round_trip" / "v0_00.png").unlink()
    with pytest.raises(InputError, match=r"v0_00\.png: can't be read as a picture"):
        scored(drawn)


def test_the_cap_is_what_is_counted():
    scores = table_of({"a": [metrics.PSNR_CAP, 3.0], "b": [metrics.PSNR_CAP]})
    assert scores.summarise(scores, 100, 0)["model"]["autoregressive"]["all"]["psnr_capped"] == 2

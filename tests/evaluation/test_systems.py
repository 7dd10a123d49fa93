"""Images of another system, scored like ours."""

import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from recipevis.data.tables.samples import read_samples
from recipevis.errors import InputError
from recipevis.evaluation import reference, systems
from tests.evaluation.conftest import PIXELS, Means, score


@pytest.fixture
def theirs(generated, tmp_path):
    """Their images are our teacher-forced ones, in both of their modes, named with short step numbers."""
    folder = tmp_path / "theirs"
    for mode in ("autoregressive", "teacher_forced"):
        (folder / mode).mkdir(parents=True)
        for image in (generated / "teacher_forced").iterdir():
            video, step = image.stem.split("_")
            shutil.copy(image, folder / mode / f"{video}_{int(step)}.png")
    return folder


def test_images_are_found_by_mode_and_by_either_form_of_the_step(generated, theirs):
    samples = read_samples(generated / "samples.csv")
    found = systems.find(theirs, samples, PIXELS)
    assert found.keys() == {"autoregressive", "teacher_forced"}
    assert found["teacher_forced"].keys() == set(samples[samples.scored == 1].sample_id)
    flat = systems.find(generated / "teacher_forced", samples, PIXELS)  # all in one folder: autoregressive
    assert flat.keys() == {"autoregressive"}
    assert flat["autoregressive"]["v0_02"].name == "v0_02.png"


def test_what_is_missing_or_of_another_size_is_named(generated, theirs, tmp_path):
    samples = read_samples(generated / "samples.csv")
    (theirs / "autoregressive/v0_1.png").unlink()
    Image.new("RGB", (8, 9)).save(theirs / "teacher_forced/v2_0.png")
    (theirs / "teacher_forced/v0_0.png").write_bytes(b"no image")
    with pytest.raises(InputError) as error:
        systems.find(theirs, samples, PIXELS)
    assert all(part in str(error.value) for part in ("v0_01.png", "v2_0.png", "8x9", "v0_0.png"))
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="absent"):
        systems.find(tmp_path / "absent", samples, PIXELS)


def test_scores_and_differences(generated, theirs, tmp_path):
    samples = read_samples(generated / "samples.csv")
    ours, encoders = score(generated), {"clip": Means()}
    training = pd.DataFrame({"recipe_type": ["a"], "sentence": ["chop"]})
    truth = reference.measure(samples, training, encoders, {})
    found = systems.find(theirs, samples, PIXELS)
    scored = systems.score_system(found, samples, truth, encoders, tmp_path / "work")
    own = ours.table[ours.table.picture == "teacher_forced"].set_index("sample_id")
    for mode in ("autoregressive", "teacher_forced"):
        same = scored.table[scored.table.picture == mode].set_index("sample_id")
        assert same.psnr.to_dict() == own.psnr.to_dict()
    result = systems.compare(scored, ours, ours, 100, 0)
    assert result["rows"]["autoregressive"]["all"]["psnr"]["mean"] == pytest.approx(own.psnr.mean(), rel=1e-4)
    assert result["margins"]["model"]["teacher_forced"]["all"]["psnr"]["mean"] == 0  # they are ours
    of_ours = ours.table[ours.table.picture == "autoregressive"].psnr.mean()
    ahead = result["margins"]["model"]["autoregressive"]["all"]["psnr"]["mean"]
    assert ahead == pytest.approx(own.psnr.mean() - of_ours, rel=1e-3)
    assert result["margins"]["mean_image"]["autoregressive"]["after_first"]["images"] == 3


def test_a_step_that_is_not_scored_needs_no_image(generated, theirs, tmp_path, monkeypatch):
    """v1's second step has no ground truth. What follows such a step is not compared with the image before it."""
    samples = read_samples(generated / "samples.csv")
    samples.loc[samples.sample_id == "v0_01", "scored"] = 0
    (theirs / "autoregressive/v0_1.png").unlink()
    encoders = {"clip": Means()}
    truth = reference.measure(samples, pd.DataFrame({"recipe_type": ["a"], "sentence": ["x"]}), encoders, {})
    found = systems.find(theirs, samples, PIXELS)
    table = systems.score_system(found, samples, truth, encoders, tmp_path / "work").table
    table = table.set_index(["picture", "sample_id"])
    assert np.isnan(table.copy_rate["autoregressive", "v0_02"])
    assert not np.isnan(table.copy_rate["teacher_forced", "v0_02"])

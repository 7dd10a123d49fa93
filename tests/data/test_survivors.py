"""Another run's `survivors.json`: only its triplets are used."""

import json
from pathlib import Path

import pytest

from recipevis.data import survivors, triplets
from recipevis.data.triplets import NOT_LISTED
from recipevis.errors import InputError
from tests.data.test_triplets import frames_of, recipe


@pytest.fixture
def recipes():
    return [recipe("a_b", 3), recipe("c", 2), recipe("d", 2, "validation")]


@pytest.fixture
def theirs(recipes, tmp_path):
    """Of a run in which the video `c` and the last step of `a_b` were lost."""
    lost = {("c", 0): "video_failed", ("c", 1): "video_failed", ("a_b", 2): "past_end"}
    _, counts = triplets.build(recipes, frames_of(recipes, lost))
    path = tmp_path / "survivors.json"
    path.write_text(json.dumps(counts))
    return str(path)


def test_two_runs_have_the_same_triplets(recipes, theirs):
    samples = survivors.read_samples(theirs)
    kept = survivors.keep_recipes(recipes, samples, theirs)
    assert [one.video_id for one in kept] == ["a_b", "d"]
    table, counts = triplets.build(kept, frames_of(kept, {}), samples)
    assert table.sample_id.tolist() == ["a_b_00", "a_b_01", "d_00", "d_01"]
    assert counts["training"]["dropped"] == {NOT_LISTED: 1}
    assert counts["hash"] == json.loads(Path(theirs).read_text())["hash"]


def test_what_is_missing_here_stays_missing(recipes, theirs):
    samples = survivors.read_samples(theirs)
    table, counts = triplets.build(recipes[::2], frames_of(recipes[::2], {("d", 0): "past_end"}), samples)
    assert table.sample_id.tolist() == ["a_b_00", "a_b_01"]
    assert counts["validation"]["dropped"] == {"past_end": 1, "previous_missing": 1}


@pytest.mark.parametrize(
    "content", [None, "", "[]", "{}", '{"training": {"videos": 1}}', '{"training": {"samples": []}}', "no json"]
)
def test_other_files_are_refused(content, tmp_path):
    path = tmp_path / "survivors.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=r"survivors\.json"):
        survivors.read_samples(str(path))


def test_a_list_of_other_videos_is_refused(recipes):
    with pytest.raises(InputError, match="theirs"):
        survivors.keep_recipes(recipes, frozenset({"x_00"}), "theirs")

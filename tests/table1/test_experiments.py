"""What is read of experiments that DVC keeps, and which of them belong in one table."""

import shutil
from dataclasses import replace

import pytest

from recipevis.errors import InputError
from recipevis.table1 import experiments, rows, runner

pytestmark = pytest.mark.slow  # each experiment is a clone and a run of DVC

CONCAT, TEXT, POOLED = (rows.select([key])[0] for key in ("concat", "text_only", "text_pooling"))


def run(*chosen: rows.Row) -> None:
    assert runner.run(runner.plan(chosen, [0]), []) == []


def collected(*chosen: rows.Row) -> tuple[list[str], list[str]]:
    found, left_out = experiments.collect([(row, 0) for row in chosen])
    return [one.row.key for one in found], left_out


def test_experiments_are_read_and_what_is_not_there_is_named(project):
    run(CONCAT, TEXT)
    found, left_out = experiments.collect([(CONCAT, 0), (CONCAT, 3), (TEXT, 0)])
    assert [(one.row, one.seed, one.about["fuser"]) for one in found] == [(CONCAT, 0, "concat"), (TEXT, 0, "text_only")]
    assert found[0].images.sample_id.tolist() == ["00"], "a name, not a number"
    assert left_out == ["table1-concat-seed3: not run"]
    assert experiments.seeds(CONCAT, experiments.commits()) == [0]
    shutil.rmtree(project / ".dvc/cache")
    keys, left_out = collected(CONCAT)
    assert keys == []
    assert [line for line in left_out if "table1-concat-seed0" in line and "reports/evaluation.json" in line]


def test_experiments_of_other_code_are_left_out_by_name(project, monkeypatch):
    """The fuser's own file is no disagreement; a file that all rows use is."""
    run(CONCAT, TEXT)
    (project / "recipevis/fusers/text_pooling.py").write_text("# another fuser's file")
    run(POOLED)
    assert collected(CONCAT, TEXT, POOLED) == (["concat", "text_only", "text_pooling"], [])
    path = project / "stages/train.py"
    path.write_text(path.read_text() + "# changed")
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2208988800 +0000")
    run(TEXT)
    keys, left_out = collected(CONCAT, TEXT, POOLED)
    assert keys == ["text_only"], "the newest"
    names = ["table1-concat-seed0", "table1-text-pooling-seed0"]
    assert [line.split(":")[0] for line in left_out] == names
    assert all("stages/train.py" in line for line in left_out)


def test_experiments_of_other_data_disagree(project, recipevis_home):
    run(CONCAT)
    (recipevis_home / "videos").write_text("one more")
    path = project / "stages/manifest.py"
    path.write_text(path.read_text() + "# so that it runs again")
    run(TEXT)
    known = experiments.commits()
    one, other = (experiments.read(row, 0, row.experiment(0), known[row.experiment(0)]) for row in (CONCAT, TEXT))
    assert experiments.disagreements(one, other) == ["the videos", "in dvc.lock data/triplets.csv, stages/manifest.py"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("data_hash", "x"), ("backbone", {"source": "hub"}), ("steps", 7), ("sampler", {"steps": 50})],
)
def test_experiments_of_other_settings_disagree(key, value, project):
    run(CONCAT)
    one = experiments.read(CONCAT, 0, "table1-concat-seed0", experiments.commits()["table1-concat-seed0"])
    assert experiments.disagreements(one, one) == []
    assert len(experiments.disagreements(one, replace(one, about={**one.about, key: value}))) == 1


def test_a_removed_experiment_leaves_the_others(project):
    run(CONCAT, TEXT)
    experiments.remove("table1-concat-seed0")
    assert list(experiments.commits()) == ["table1-text-only-seed0"]
    kept = experiments.commits()["table1-text-only-seed0"]
    experiments.remove("table1-text-only-seed0", but=kept)
    assert list(experiments.commits()) == ["table1-text-only-seed0"]


def test_outside_a_repository_the_message_is_gits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    with pytest.raises(InputError, match="not a git repository"):
        experiments.commits()

"""Running rows as experiments, in a repository with a tiny pipeline."""

import subprocess
import sys
import textwrap

import pytest
from ruamel.yaml import YAML

from recipevis.errors import ParameterError
from recipevis.table1 import experiments, runner
from recipevis.table1.rows import ROWS

BASELINE = next(row for row in ROWS if row.key == "baseline")
CYCLE = next(row for row in ROWS if row.key == "baseline-cycle")
STAGE = """
import json, pathlib, sys
from ruamel.yaml import YAML
values = YAML(typ="safe", pure=True).load(open("params.yaml"))
if pathlib.Path(r"{folder}/fail").exists() and values["cycle"]["weight"]:
    sys.exit(1)
pathlib.Path("reports").mkdir(exist_ok=True)
about = {{"data_hash": "d", "steps": values["steps"], "fuser": values["fuser"]}}
json.dump({{"experiment": about, "rows": {{}}}}, open("reports/evaluation.json", "w"))
row = "autoregressive,a_00,a,0,%s" % values["seed"]
open("reports/images.csv", "w").write("picture,sample_id,video_id,step,psnr\\n" + row + "\\n")
"""


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository whose one stage takes the place of the six that make a number."""
    folder = tmp_path / "repository"
    (folder / "stages").mkdir(parents=True)
    (folder / "recipevis").mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    values = {"fuser": "baseline", "seed": 0, "steps": 3, "cycle": {"weight": 0}}
    writer = YAML()
    writer.dump(values, folder / "params.yaml")
    stages = {name: {"cmd": "true", "deps": ["stages/evaluate.py"]} for name in experiments._STAGES}
    stages["evaluate"] |= {
        "cmd": f"{sys.executable} stages/evaluate.py",
        "params": ["fuser", "seed", "steps", "cycle.weight"],
        "outs": ["reports/evaluation.json", "reports/images.csv"],
    }
    writer.dump({"stages": stages}, folder / "dvc.yaml")
    (folder / "stages/evaluate.py").write_text(STAGE.format(folder=tmp_path))
    (folder / ".gitignore").write_text("/reports\n/logs\n")
    commands = """
        git init --quiet
        git config user.name t
        git config user.email t@localhost
        dvc init --quiet
        git add .
        git commit --quiet --message begin
    """
    for command in textwrap.dedent(commands).split("\n"):
        if command:
            head, *rest = command.split()
            words = [sys.executable, "-m", "dvc", *rest] if head == "dvc" else [head, *rest]
            subprocess.run(words, check=True, capture_output=True)
    return folder


def test_what_is_missing_runs_once_and_stays_out_of_the_workspace(repository):
    before = (repository / "params.yaml").read_bytes()
    runs = runner.plan([BASELINE, CYCLE, ROWS[0]], [0], 0.5, ["steps=4"])
    assert [(one.name, one.why) for one in runs] == [
        ("table1-baseline-seed0", "missing"),
        ("table1-baseline-cycle-seed0", "missing"),
    ]  # the untouched backbone needs no run
    assert runner.run(runs, []) == []
    assert (repository / "params.yaml").read_bytes() == before
    assert not (repository / "reports").exists()
    known = experiments.commits()
    assert known.keys() == {"table1-baseline-seed0", "table1-baseline-cycle-seed0"}
    assert experiments.parameters(known["table1-baseline-cycle-seed0"])["cycle"]["weight"] == 0.5
    assert runner.plan([BASELINE, CYCLE], [0], 0.5, ["steps=4"]) == []
    found, left_out = experiments.collect([(BASELINE, 0), (CYCLE, 0), (BASELINE, 1)])
    assert [one.about["steps"] for one in found] == [4, 4]
    assert found[0].images.psnr.tolist() == [0]
    assert len(left_out) == 1
    assert "table1-baseline-seed1" in left_out[0]


def test_stale_experiments_run_again_and_disagreeing_ones_are_left_out(repository):
    runner.run(runner.plan([BASELINE, CYCLE], [0], 0.5, []), [])
    (stale,) = [one for one in runner.plan([BASELINE, CYCLE], [0], 0.7, [])]
    assert (stale.name, stale.why) == ("table1-baseline-cycle-seed0", "stale: cycle.weight")
    code = repository / "stages/evaluate.py"
    code.write_text(code.read_text() + "# another\n")
    assert {one.why for one in runner.plan([BASELINE, CYCLE], [0], 0.5, [])} == {"stale: stages/evaluate.py"}
    assert runner.run(runner.plan([CYCLE], [0], 0.5, []), []) == []
    found, left_out = experiments.collect([(BASELINE, 0), (CYCLE, 0)])
    assert [one.row for one in found] == [CYCLE]  # the newer one says what the code is
    assert "stages/evaluate.py" in left_out[0]


def test_a_failure_stops_no_other_and_keeps_the_old_result(repository, tmp_path, capsys):
    runner.run(runner.plan([CYCLE], [0], 0.5, []), [])
    (tmp_path / "fail").touch()
    runs = runner.plan([BASELINE, CYCLE], [0], 0.7, [])
    failed = runner.run(runs[::-1], ["0", "1"])  # the failing one first; two at a time
    assert [one.name for one in failed] == ["table1-baseline-cycle-seed0"]
    assert failed[0].log.exists()
    known = experiments.commits()
    assert experiments.parameters(known["table1-baseline-cycle-seed0"])["cycle"]["weight"] == 0.5
    assert "table1-baseline-seed0" in known


def test_settings_that_the_rows_set_are_refused(repository):
    for setting in ("seed=1", "steps"):
        with pytest.raises(ParameterError, match=setting):
            runner.plan([BASELINE], [0], 0.5, [setting])

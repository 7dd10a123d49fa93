"""`recipevis table1`: its options, what it prints and writes, its exit status."""

import pytest
from typer.testing import CliRunner

from recipevis.cli.main import app
from recipevis.table1 import experiments, rows, runner
from tests.table1 import conftest as tiny

project = tiny.project  # the fixture


def call(*arguments: str):
    return CliRunner().invoke(app, ["table1", *arguments])


def test_a_dry_run_lists_what_is_missing_and_runs_nothing(project):
    result = call("run", "--dry-run", "--rows", "untouched,concat,text_only", "--seeds", "0,2")
    assert result.exit_code == 0, result.output
    names = [line.split(":")[0] for line in result.output.splitlines()]
    expected = [f"table1-{key}-seed{seed}" for seed in (0, 2) for key in ("concat", "text-only")]
    assert names == expected
    assert experiments.commits() == {}
    assert not (project / "logs").exists()


@pytest.mark.slow
def test_a_failed_row_is_the_exit_status(project):
    result = call("run", "--rows", "text_only,image_only")
    assert result.exit_code == 1
    assert "table1-image-only-seed0" in result.output.splitlines()[-1]
    assert list(experiments.commits()) == ["table1-text-only-seed0"]
    assert call("run", "--rows", "text_only").exit_code == 0


@pytest.mark.parametrize(
    "arguments",
    [("--rows", "nonsense"), ("--seeds", "one"), ("--seeds", "-1"), ("--set", "seed=3"), ("--cycle-weight", "0")],
)
def test_a_wrong_value_is_one_line(arguments, project):
    result = call("run", "--dry-run", *arguments)
    assert result.exit_code == 2
    assert result.stderr.startswith("table1: ")
    assert len(result.stderr.splitlines()) == 1
    assert arguments[0] in result.stderr


def test_rows_are_listed():
    lines = call("rows").output.splitlines()
    assert [line.split()[0] for line in lines] == [row.key for row in rows.ROWS]


@pytest.mark.slow
def test_show_writes_the_table_and_names_what_is_missing(project, monkeypatch):
    """From experiments that DVC keeps, with as many images as the pipeline made: one."""
    path = project / "stages/evaluate.py"
    written = tiny.images_of("concat", 0).to_csv(index=False)
    path.write_text(path.read_text() + f"\nPath('reports/images.csv').write_text({written!r})\n")
    assert runner.run(runner.plan(rows.select(["concat", "text_only"]), [0, 1]), []) == []
    result = call("show", "--out", "made", "--rows", "concat,text_only,baseline")
    assert result.exit_code == 0, result.output
    names = ["comparisons.csv", "index.html", "table.csv", "table.md", "table.tex"]
    assert sorted(path.name for path in (project / "made").iterdir()) == names
    assert "table1-baseline-seed0: not run" in result.output
    text = (project / "made/table.md").read_text()
    assert "| Concatenation (2 seeds) |" in text
    assert "| Baseline, fine-tuned (not run) |" in text
    one = call("show", "--out", "one", "--rows", "concat", "--seeds", "1")
    assert one.exit_code == 0
    assert "| Concatenation (this checkpoint) |" in (project / "one/table.md").read_text()
    assert call("show", "--rows", "image_only").exit_code == 2, "nothing to show"

"""The command as a whole: its start is fast, its errors are one line."""

import subprocess
import sys

from typer.testing import CliRunner

from recipevis import __version__
from recipevis.cli.main import app

HEAVY = {"torch", "diffusers", "transformers", "pandas", "dvc"}


def test_version_and_help_import_no_heavy_package():
    code = (
        "import sys; from typer.testing import CliRunner; from recipevis.cli import app; "
        "print(CliRunner().invoke(app, ['--version']).output, end=''); "
        "help = CliRunner().invoke(app, ['generate', '--help']); "
        f"print('--image-guidance' in help.output, {HEAVY} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"recipevis {__version__}", "True set()"]


def test_an_error_of_the_project_is_one_line_with_the_commands_name(tmp_path):
    for command in ("fusers", "doctor"):
        result = CliRunner().invoke(app, [command, "--params", str(tmp_path / "absent.yaml")])
        assert result.exit_code == 2
        assert result.stderr.startswith(f"{command}: ")
        assert len(result.stderr.splitlines()) == 1


def test_commands_without_a_model_do_not_import_torch(tmp_path):
    (tmp_path / "recipe.txt").write_text("melt the butter\nfry an egg\n")
    for arguments in (["table1", "rows"], ["generate", str(tmp_path / "recipe.txt"), "--dry-run", "--model", "absent"]):
        code = (
            "import sys; from typer.testing import CliRunner; from recipevis.cli import app; "
            f"result = CliRunner().invoke(app, {arguments}); "
            f"print(result.exit_code, {HEAVY | {'matplotlib'}} & sys.modules.keys())"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout == "0 set()\n"

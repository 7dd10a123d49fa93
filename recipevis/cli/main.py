"""The command `recipevis` and its sub-commands."""

import os
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from recipevis import __version__, arithmetic
from recipevis.cli.compare import compare
from recipevis.cli.doctor import doctor
from recipevis.cli.export import export
from recipevis.cli.fusers import fusers
from recipevis.cli.generate import generate
from recipevis.cli.publish import publish
from recipevis.cli.queue import queue
from recipevis.cli.score import score
from recipevis.cli.table1 import table1
from recipevis.cli.web.command import app as page
from recipevis.errors import RecipeVisError

arithmetic.fix()  # before a command imports torch
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")  # it warns that torchvision is missing; nothing needs it


class _Commands(TyperGroup):
    """Prints an error of the project as one line and exits with its status."""

    def invoke(self, ctx: typer.Context) -> Any:
        try:
            return super().invoke(ctx)
        except RecipeVisError as error:
            typer.echo(f"{ctx.invoked_subcommand}: {error}", err=True)
            raise typer.Exit(error.exit_status) from None


app = typer.Typer(
    cls=_Commands,
    help="Generates a recipe step by step: each image from the step's sentence and the image before it.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (generate, fusers, doctor, export, score, compare, publish):
    app.command()(command)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(queue)
app.command("app")(page)
app.add_typer(table1, name="table1")


def _print_version(is_set: bool) -> None:
    if is_set:
        print(f"recipevis {__version__}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options before the command."""

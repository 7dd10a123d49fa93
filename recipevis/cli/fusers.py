"""`recipevis fusers`: the fusers, their weights at the configured backbone's shapes, and their options."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from recipevis.config import Config
    from recipevis.fusers.base import Shapes

_RANGES = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}  # keys of JSON schema


@dataclass(frozen=True)
class Row:
    """A fuser at the configured shapes."""

    name: str
    hidden: int | None  # width of the hidden layer; None: it has none
    weights: int


def fusers(
    params: Annotated[Path, typer.Option(help="The parameter file.")] = Path("params.yaml"),
) -> None:
    """List the fusers: their number of weights at the configured backbone's shapes, and their options."""
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Column, Table

    from recipevis import config

    parameters = config.load(params)
    print("fusers: counting weights", flush=True)  # importing torch takes seconds
    shapes, comment = configured_shapes(parameters)
    weights = Table("fuser", Column("hidden", justify="right"), Column("weights", justify="right"), box=SIMPLE)
    options = Table("fuser", "option", "type", "range", "default", "", box=SIMPLE)
    for row in count_all(parameters, shapes):
        weights.add_row(row.name, "–" if row.hidden is None else f"{row.hidden:,}", f"{row.weights:,}")
        for option in options_of(row.name):
            options.add_row(row.name, *option)
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(f"Weights at the shapes of {comment}:", weights)
    console.print(
        "Options (hidden is fuser_hidden, residual is fuser_residual, others go into fuser_options):", options
    )


def configured_shapes(parameters: Config) -> tuple[Shapes, str]:
    """The shapes of the configured backbone, and a name for them.

    A backbone on the hub that the stage `backbone` has not fetched yet has the shapes of `backbone.random`.

    Raises:
        InputError: a configuration file can't be read.
    """
    from recipevis.backbone.base import source_class
    from recipevis.model.shapes import fuser_shapes

    backbone = parameters.backbone
    folders, name = source_class(backbone.source)(backbone).configurations(), f"the backbone ({backbone.source})"
    if folders is None:
        folders = source_class("random")(backbone).configurations()
        name = f"{backbone.random}, since the backbone is not fetched yet"
    return fuser_shapes(*folders, parameters.condition_tokens), name


def count_all(parameters: Config, shapes: Shapes) -> list[Row]:
    """Every fuser with its number of weights; counted on the meta device, so nothing is allocated."""
    import torch

    from recipevis.config import FUSERS
    from recipevis.fusers.base import count_weights, make_fuser, matched_hidden, select_options

    common = {"hidden": parameters.fuser_hidden, "residual": parameters.fuser_residual}
    rows = []
    with torch.device("meta"):
        for name in FUSERS:
            extra = parameters.fuser_options if name == parameters.fuser else {}
            options = select_options(name, common, extra)
            if options.get("hidden") == "matched":
                options["hidden"] = matched_hidden(name, shapes, options)
            rows.append(Row(name, options.get("hidden"), count_weights(make_fuser(name, shapes, options))))
    return rows


def options_of(name: str) -> list[tuple[str, str, str, str, str]]:
    """The options that a fuser declares: name, type, range, default and description of each."""
    from recipevis.fusers.base import declared_options

    properties = declared_options(name).model_json_schema()["properties"]
    return [
        (option, _type(schema), _range(schema), str(schema["default"]), schema.get("description", ""))
        for option, schema in properties.items()
    ]


def _type(schema: dict[str, Any]) -> str:
    return " or ".join(_type(one) for one in schema["anyOf"]) if "anyOf" in schema else schema.get("type", "any")


def _range(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(map(str, schema["enum"]))
    return ", ".join(f"{sign} {schema[key]}" for key, sign in _RANGES.items() if key in schema)

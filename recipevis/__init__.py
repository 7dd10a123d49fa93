"""RecipeVis: one image per step of a recipe, each from the step's sentence and the image before it."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """`from recipevis import RecipePipeline`, without the cost of importing diffusers before it is asked for."""
    if name == "RecipePipeline":
        return import_module("recipevis.sampling.pipeline").RecipePipeline
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""RecipeVis: one image per step of a recipe, each from the step's sentence and the image before it."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"


_PLACES = {
    "RecipePipeline": "recipevis.sampling.pipeline",
    "draw_recipe": "recipevis.sampling.recipe",
    "draw_recipes": "recipevis.sampling.recipe",
}


def __getattr__(name: str) -> Any:
    """`from recipevis import RecipePipeline`, without the cost of importing diffusers before it is asked for."""
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

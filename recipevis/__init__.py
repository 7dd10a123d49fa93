"""RecipeVis: one image per step of a recipe, each from the step's sentence and the image before it."""

__version__ = "0.1.0"

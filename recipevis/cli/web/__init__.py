"""The page of `recipevis app`: what it draws, what it can save, and how it looks."""

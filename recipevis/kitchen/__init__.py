"""The demo's own data: recipes, and the videos rendered for them. Not the paper's subject."""

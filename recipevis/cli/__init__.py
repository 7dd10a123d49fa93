"""The command `recipevis`: one module a command, wired in `main`.

What a stage needs too belongs in the library below. What `main` imports, imports heavy packages only inside functions.
"""

from recipevis.cli.main import app as app

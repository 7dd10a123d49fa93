"""The command `recipevis`: one module a command, wired in `main`.

What a stage needs too belongs in the library below. Modules import heavy packages only inside their functions.
"""

from recipevis.cli.main import app as app

"""The command `recipevis`, a module a command.

What a command shares with a stage belongs in the library below.
"""

from recipevis.cli.main import app as app

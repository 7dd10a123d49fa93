"""The errors a user can cause or meet, each a closed class with its exit status.

Whatever is raised from here is told in one line on stderr; anything else is a bug and keeps its traceback.
"""


def disk_full(where: object) -> str:
    """What is said of a full disk, and of a quota that is used up."""
    return f"{where}: the disk is full: make room, then run the same again"


class RecipeVisError(Exception):
    """Base of every error that is explained to the user. Never raised itself."""

    exit_status = 2


class ParameterError(RecipeVisError):
    """A key or a value of the parameter file is wrong. The message names the key, the value and what is allowed."""


class InputError(RecipeVisError):
    """A file that the user named is missing, malformed or does not fit. The message names the file."""


class SourceError(RecipeVisError):
    """A source of videos can't go on (rate limit, bot check, full disk). The message says what to do."""

    exit_status = 3

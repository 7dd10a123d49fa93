"""The errors that a user can cause or fix, each with its exit status.

A stage or command prints such an error as one line on stderr. Any other exception is a bug and keeps its traceback.
"""


def disk_full(where: object) -> str:
    """The message for a full disk or an exhausted quota."""
    return f"{where}: the disk is full; free some space, then rerun"


def install(extra: str) -> str:
    """The command, in a clone, that installs one of the extras in pyproject.toml."""
    return f"pip install -c constraints.txt -e '.[{extra}]'"


class RecipeVisError(Exception):
    """Base of all errors that are explained to the user. Never raised itself."""

    exit_status = 2


class ParameterError(RecipeVisError):
    """A key or value of the parameter file is wrong. The message names the key, the value and what is allowed."""


class InputError(RecipeVisError):
    """A file that the user named is missing, malformed or does not fit. The message names the file."""


class SourceError(RecipeVisError):
    """A source of videos can't continue (rate limit, bot check, full disk). The message says what to do."""

    exit_status = 3

"""The experiments behind the table, as git and DVC keep them: which there are, what they hold, whether they agree.

An experiment is a git commit below `refs/exps`, with its parameters, `dvc.lock` and DVC's cache. So what is done is
known without a state of our own, and a kill loses nothing.
"""

import io
import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from recipevis.errors import InputError
from recipevis.table1.rows import Row

_STAGES = ("train", "baselines", "native", "sample", "reference", "evaluate")  # whose code changes a number
_LABELS = {"data_hash": "the videos", "backbone": "the backbone", "steps": "the training steps", "sampler": "sampling"}


@dataclass(frozen=True)
class Experiment:
    """One experiment that ended well.

    Attributes:
        row: of the table.
        seed: of its training.
        name: in DVC.
        commit: of git.
        about: `experiment` of its `evaluation.json`.
        result: `reports/evaluation.json`.
        images: `reports/images.csv`: a row per set of images and sample.
    """

    row: Row
    seed: int
    name: str
    commit: str
    about: Mapping[str, Any]
    result: Mapping[str, Any]
    images: pd.DataFrame


def commits() -> dict[str, str]:
    """The newest commit of each experiment, by its name.

    Raises:
        InputError: this is no git repository.
    """
    form = "%(committerdate:unix) %(objectname) %(refname)"
    lines = git("for-each-ref", f"--format={form}", "refs/exps/").splitlines()
    found = {}
    for line in sorted(lines, key=lambda line: int(line.split()[0])):
        _, commit, ref = line.split(" ", 2)
        if re.fullmatch(r"refs/exps/\w{2}/\w{38}/[^/]+", ref):  # others are DVC's own, such as its stash
            found[ref.rpartition("/")[2]] = commit
    return found


def parameters(commit: str) -> dict[str, Any]:
    """The parameters of a commit."""
    return YAML(typ="safe", pure=True).load(git("show", f"{commit}:params.yaml"))


def changed_code(commit: str, other: str | None = None) -> list[str]:
    """Files of code that differ between a commit and another, or the working tree, and could change a number.

    A fuser's file counts if the commit's experiment uses it.
    """
    values = parameters(commit)
    stages = YAML(typ="safe", pure=True).load(git("show", f"{commit}:dvc.yaml"))["stages"]
    deps = {dep for stage in _STAGES for dep in stages[stage]["deps"] if dep.startswith(("recipevis/", "stages/"))}
    deps = {dep.replace("${fuser}", values["fuser"]) for dep in deps}
    return git("diff", "--name-only", commit, *([other] if other else []), "--", *sorted(deps)).splitlines()


def read(row: Row, seed: int, name: str, commit: str) -> Experiment:
    """Read an experiment's results from DVC's cache.

    Raises:
        InputError: DVC doesn't have them.
    """
    result = json.loads(_cached("reports/evaluation.json", commit, name))
    images = pd.read_csv(io.StringIO(_cached("reports/images.csv", commit, name)), dtype={"video_id": str})
    return Experiment(row, seed, name, commit, result["experiment"], result, images)


def _cached(path: str, commit: str, name: str) -> str:
    from dvc import api
    from dvc.exceptions import DvcException

    try:
        return api.read(path, repo=str(Path.cwd()), rev=commit)
    except (DvcException, OSError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"experiment {name}: {path} is not in DVC's cache: {reason}; run the row again") from error


def disagreements(reference: Experiment, other: Experiment) -> list[str]:
    """What two experiments differ in besides their rows and seeds; nothing if they belong in one table."""
    found = [label for key, label in _LABELS.items() if reference.about.get(key) != other.about.get(key)]
    files = [
        name
        for name in changed_code(other.commit, reference.commit)
        if name != f"recipevis/fusers/{other.row.fuser}.py"
    ]
    return found + ([f"the code ({', '.join(files)})"] if files else [])


def git(*arguments: str) -> str:
    """The output of a git command.

    Raises:
        InputError: it fails; the message is git's.
    """
    answer = subprocess.run(["git", *arguments], capture_output=True, text=True, encoding="utf-8")
    if answer.returncode:
        raise InputError(f"git {arguments[0]}: {' '.join(answer.stderr.split())}")
    return answer.stdout


def collect(wanted: Sequence[tuple[Row, int]]) -> tuple[list[Experiment], list[str]]:
    """The experiments of some rows and seeds that agree with the newest one, and a line for each that is left out.

    Args:
        wanted: rows that are trained, each with a seed.
    """
    known, found, left_out = commits(), [], []
    for row, seed in wanted:
        name = row.experiment(seed)
        if name not in known:
            left_out.append(f"{name}: not run")
            continue
        try:
            found.append(read(row, seed, name, known[name]))
        except InputError as error:
            left_out.append(str(error))
    if not found:
        return [], left_out
    dates = {one.name: int(git("show", "--no-patch", "--format=%ct", one.commit)) for one in found}
    newest = max(found, key=lambda one: dates[one.name])
    agreeing = []
    for one in found:
        if differences := disagreements(newest, one):
            left_out.append(f"{one.name}: made with other settings than {newest.name}: {', '.join(differences)}")
        else:
            agreeing.append(one)
    return agreeing, left_out

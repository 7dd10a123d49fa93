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

from recipevis.core.files import read_yaml
from recipevis.errors import InputError
from recipevis.table1.rows import ROW_KEYS, Row

_RESULT = "reports/evaluation.json"
_ROW_KEYS = {"cycle", *ROW_KEYS}  # a stage with one of these makes what a row or a seed changes
_REF = r"refs/exps/\w{2}/\w{38}/[^/]+"  # of an experiment: its first commit, its name; others are DVC's own
_TRIPLETS = "data/triplets.csv"
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
        if re.fullmatch(_REF, ref):
            found[ref.rpartition("/")[2]] = commit
    return found


def parameters(commit: str) -> dict[str, Any]:
    """The parameters of a commit."""
    return _yaml(commit, "params.yaml")


def seeds(row: Row, known: Mapping[str, str]) -> list[int]:
    """The seeds of a row for which there are experiments."""
    before = row.experiment(0).removesuffix("0")
    found = (name.removeprefix(before) for name in known if name.startswith(before))
    return sorted(int(seed) for seed in found if seed.isdecimal())


def remove(name: str, but: str = "") -> None:
    """Remove the experiments of a name, whatever commit they started from.

    Args:
        name: of the experiments.
        but: the commit of one that stays.
    """
    for line in git("for-each-ref", "--format=%(objectname) %(refname)", "refs/exps/").splitlines():
        commit, ref = line.split(" ", 1)
        if re.fullmatch(_REF, ref) and ref.rpartition("/")[2] == name and commit != but:
            git("update-ref", "-d", ref, commit)


@dataclass(frozen=True)
class Lineage:
    """What an experiment's numbers were computed from, by its `dvc.yaml` and `dvc.lock`.

    Attributes:
        keys: parameters that can change a number; a group stands for all below it.
        hashes: of the code and the data that no row and no seed changes, by path.
        code: those paths, and the fuser's, that are code.
    """

    keys: frozenset[str]
    hashes: Mapping[str, str]
    code: Sequence[str]


def lineage(commit: str) -> Lineage:
    """What the numbers of a commit were computed from.

    Raises:
        InputError: there is no evaluation in its `dvc.lock`.
    """
    described = _yaml(commit, "dvc.yaml")["stages"]
    locked = _locked(commit)
    makers = {out["path"]: name for name, stage in locked.items() for out in stage.get("outs", [])}
    if _RESULT not in makers:
        raise InputError(f"dvc.lock of {commit[:7]}: it has no {_RESULT}; run the row again")
    makers_of = {
        name: {maker for dep in stage.get("deps", []) if (maker := _maker(dep["path"], makers))}
        for name, stage in locked.items()
    }
    needed = _reached({makers[_RESULT]}, makers_of)
    listed = {
        name: {key for key in described.get(name, {}).get("params", []) if isinstance(key, str)} for name in needed
    }
    of_rows = {name for name in needed if _reached({name}, makers_of) & {n for n in needed if listed[n] & _ROW_KEYS}}
    deps = {dep["path"]: dep.get("md5", "") for name in needed for dep in locked[name].get("deps", [])}
    return Lineage(
        frozenset({"dataset"}.union(*listed.values())),
        {path: digest for path, digest in deps.items() if _maker(path, makers) not in of_rows},
        sorted(path for path in deps if path.startswith(("recipevis/", "stages/"))),
    )


def _yaml(commit: str, path: str) -> Any:
    """A YAML file of a commit."""
    return YAML(typ="safe", pure=True).load(git("show", f"{commit}:{path}"))


def _locked(commit: str) -> dict[str, Any]:
    """The stages in a commit's `dvc.lock`; none without that file."""
    is_there = git("ls-tree", "--name-only", commit, "--", "dvc.lock")
    return _yaml(commit, "dvc.lock").get("stages", {}) if is_there else {}


def _maker(path: str, makers: Mapping[str, str]) -> str | None:
    """The stage that makes a file, or the folder that it is in."""
    return next((makers[str(p)] for p in (Path(path), *Path(path).parents) if str(p) in makers), None)


def _reached(names: set[str], makers_of: Mapping[str, set[str]]) -> set[str]:
    """Some stages, and all that they depend on."""
    found, waiting = set(), set(names)
    while waiting:
        found.add(name := waiting.pop())
        waiting |= makers_of[name] - found
    return found


def changed_code(commit: str) -> list[str]:
    """Files of code in the working tree that differ from a commit's and could change a number of it."""
    return git("diff", "--name-only", commit, "--", *lineage(commit).code).splitlines()


def has_other_data(commit: str) -> bool:
    """Whether the workspace has other triplets, made with the same parameters: videos came or went since."""
    if not Path("dvc.lock").exists():
        return False  # it has not run yet, so nothing contradicts the experiment
    mine, theirs = _data(read_yaml(Path("dvc.lock")).get("stages", {})), _data(_locked(commit))
    return bool(mine and theirs) and mine["made_with"] == theirs["made_with"] and mine != theirs


def _data(locked: Mapping[str, Any]) -> dict[str, Any]:
    """The hash of the triplets in a `dvc.lock`, and what they were made with; nothing if they were not made."""
    stages = [locked.get(name, {}) for name in ("annotations", "download", "frames", "manifest")]
    made_with = [stage.get("params", {}).get("params.yaml", {}) for stage in stages]
    made_with[0] = made_with[0].get("dataset")  # annotations tracks the whole file
    hashes = {out["path"]: out["md5"] for out in stages[-1].get("outs", [])}
    return {"made_with": made_with, "triplets": hashes[_TRIPLETS]} if _TRIPLETS in hashes else {}


def read(row: Row, seed: int, name: str, commit: str) -> Experiment:
    """Read an experiment's results from DVC's cache.

    Raises:
        InputError: DVC doesn't have them.
    """
    result = json.loads(_cached(_RESULT, commit, name))
    images = pd.read_csv(
        io.StringIO(_cached("reports/images.csv", commit, name)), dtype={"sample_id": str, "video_id": str}
    )
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
    """What two experiments differ in besides their rows and seeds; nothing if they belong in one table.

    What each says of its videos, backbone, training steps and sampling must be equal, and so must the hashes in
    `dvc.lock` of the code and data that they share.
    """
    found = [label for key, label in _LABELS.items() if reference.about.get(key) != other.about.get(key)]
    mine, theirs = lineage(reference.commit).hashes, lineage(other.commit).hashes
    different = sorted(path for path in mine.keys() & theirs.keys() if mine[path] != theirs[path])
    return found + ([f"in dvc.lock {', '.join(different)}"] if different else [])


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

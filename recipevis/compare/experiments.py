"""What is compared: the outputs of DVC experiments, git revisions and the workspace, read without a checkout."""

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from ruamel.yaml import YAML

from recipevis.errors import InputError, ParameterError
from recipevis.evaluation.rows import MODES
from recipevis.evaluation.scores import Scores
from recipevis.table1.experiments import commits, git

WORKSPACE = "workspace"
_OF_FRAMES = ("frames.pixels", "frames.resize")  # what the ground truth looks like


@dataclass(frozen=True)
class Experiment:
    """One side of a comparison.

    Attributes:
        name: as the user wrote it.
        parameters: of its `params.yaml`, by dotted key.
        result: `reports/evaluation.json`.
        scores: of the model's images.
        samples: `samples/samples.csv`.
        read: the bytes of one of its files, by the path in the project; InputError if it is not there.
    """

    name: str
    parameters: Mapping[str, Any]
    result: Mapping[str, Any]
    scores: Scores
    samples: pd.DataFrame
    read: Callable[[str], bytes]


def read_all(names: Sequence[str]) -> list[Experiment]:
    """Read experiments that were evaluated on the same images.

    Args:
        names: of experiments, revisions of git, or `workspace`.

    Raises:
        ParameterError: there are fewer than two, or one is named twice.
        InputError: one doesn't exist, its outputs are not there, or it was evaluated on other images.
    """
    if len(names) < 2 or len(set(names)) < len(names):
        raise ParameterError(f"{' '.join(names)}: name at least two experiments, each once; `dvc exp show` lists them")
    known = commits()
    found = [_read(name, _reader(name, known)) for name in names]
    first = found[0]
    for other in found[1:]:
        if other.result["experiment"]["data_hash"] != first.result["experiment"]["data_hash"]:
            raise InputError(
                f"{other.name}: made from other videos than {first.name}, so their scores can't be compared; "
                "run one of them again"
            )
        if other_frames := [key for key in _OF_FRAMES if other.parameters.get(key) != first.parameters.get(key)]:
            raise InputError(
                f"{other.name}: not the {' and '.join(other_frames)} of {first.name}, so they have other ground truths"
            )
        if not _scored(first) & _scored(other):
            raise InputError(f"{other.name}: no step is scored in both {first.name} and {other.name}")
    return found


def _scored(experiment: Experiment) -> set[str]:
    table = experiment.scores.table
    return set(table[table.picture == MODES[0]].sample_id)


def _read(name: str, read: Callable[[str], bytes]) -> Experiment:
    [parameters] = pd.json_normalize(YAML(typ="safe", pure=True).load(read("params.yaml"))).to_dict("records")
    table = pd.read_csv(io.BytesIO(read("scores/model/images.csv")), dtype={"sample_id": str, "video_id": str})
    return Experiment(
        name,
        parameters,
        json.loads(read("reports/evaluation.json")),
        Scores(table, json.loads(read("scores/model/sets.json"))),
        pd.read_csv(io.BytesIO(read("samples/samples.csv")), dtype={"video_id": str}, keep_default_na=False),
        read,
    )


def _reader(name: str, known: Mapping[str, str]) -> Callable[[str], bytes]:
    """What reads the files of an experiment.

    Args:
        name: of it.
        known: the commits of all experiments by their names.
    """
    if name == WORKSPACE:
        return _workspace_file
    from dvc.api import DVCFileSystem
    from dvc.exceptions import DvcException

    advice = f"`dvc exp pull REMOTE {name}` fetches it" if name in known else "`dvc fetch --all-commits` fetches it"
    files = DVCFileSystem(repo=str(Path.cwd()), rev=known.get(name) or _commit(name, known))

    def read(path: str) -> bytes:
        try:
            return files.cat_file(path)
        except (DvcException, OSError) as error:
            raise InputError(
                f"{name}: {path} is not in DVC's cache; {advice} if it was made elsewhere, else run it again"
            ) from error

    return read


def _workspace_file(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{WORKSPACE}: {path} is not there; `dvc repro` makes it") from error


def _commit(revision: str, known: Mapping[str, str]) -> str:
    try:
        return git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}").strip()
    except InputError as error:
        names = ", ".join([WORKSPACE, *known])
        raise InputError(f"{revision}: no such experiment or revision of git; there are {names}") from error

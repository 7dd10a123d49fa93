"""Run the experiments of the table that are missing, one process a GPU, without DVC's queue.

The queue skips experiments, and fails without a log (treeverse/dvc issues 10562, 10779, 8192). Here each row is a
`dvc exp run --temp` with a log of its own. It runs beside the workspace, which stays as it is.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from ruamel.yaml import YAML

from recipevis.core.files import read_yaml
from recipevis.errors import ParameterError
from recipevis.table1 import experiments
from recipevis.table1.rows import Row

LOGS = Path("logs/table1")


@dataclass(frozen=True)
class Run:
    """One experiment to run.

    Attributes:
        row, seed: of the table.
        settings: `key=value` each, as for `dvc exp run -S`.
        why: why it must run: it is missing, or stale.
    """

    row: Row
    seed: int
    settings: tuple[str, ...]
    why: str

    @property
    def name(self) -> str:
        """Of the experiment."""
        return self.row.experiment(self.seed)

    @property
    def log(self) -> Path:
        """What it prints."""
        return LOGS / f"{self.name}.log"


def plan(rows: Sequence[Row], seeds: Sequence[int], cycle_weight: float, more: Sequence[str]) -> list[Run]:
    """The experiments that are missing or stale.

    Args:
        rows: of the table; those without a training are left out.
        seeds: of the trainings.
        cycle_weight: weight of the cycle loss in the rows that have it.
        more: further settings of all experiments, `key=value` each.

    Raises:
        ParameterError: a setting has no key, or one that a row sets.
    """
    known, values, runs = experiments.commits(), read_yaml(Path("params.yaml")), []
    for setting in more:
        key = setting.partition("=")[0]
        if "=" not in setting or key in ("fuser", "seed", "cycle.weight"):
            raise ParameterError(f"--set {setting}: must be key=value, and not a key that the rows set")
    for seed in seeds:
        for row in rows:
            if row.fuser is None:
                continue
            own = (f"fuser={row.fuser}", f"seed={seed}", f"cycle.weight={cycle_weight if row.cycle else 0:g}")
            settings = (*more, *own)
            name = row.experiment(seed)
            if why := _stale(known.get(name), values, settings):
                runs.append(Run(row, seed, settings, why))
    return runs


def _stale(commit: str | None, values: Mapping[str, Any], settings: Sequence[str]) -> str:
    """Why an experiment must run; empty if it is there as it would be made now."""
    if commit is None:
        return "missing"
    expected, found = _flat(_with(values, settings)), _flat(experiments.parameters(commit))
    if different := sorted(key for key in expected | found if expected.get(key) != found.get(key)):
        return f"stale: {', '.join(different)}"
    if files := experiments.changed_code(commit):
        return f"stale: {', '.join(files)}"
    return ""


def _with(values: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Parameters with some keys set."""
    changed = _flat(values)
    reader = YAML(typ="safe", pure=True)
    return changed | {key: reader.load(value) for key, _, value in (setting.partition("=") for setting in settings)}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every value by its dotted key."""
    found = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def run(runs: Sequence[Run], gpus: Sequence[str]) -> list[Run]:
    """Run experiments, and return those that failed; a failure stops no other.

    The first runs alone: it makes what all of them share, such as frames and embeddings. A process that is killed
    leaves its half-done training in `RECIPEVIS_HOME`, where the next one goes on.

    Args:
        runs: from `plan`.
        gpus: numbers of GPUs, one process each; empty: one process, on whatever device the parameters name.
    """
    waiting, failed = SimpleQueue(), []
    for one in runs[1:]:
        waiting.put(one)
    total, lock, begun = len(runs), threading.Lock(), [0]

    def go(one: Run, gpu: str | None) -> None:
        with lock:
            begun[0] += 1
            where = f", GPU {gpu}" if gpu else ""
            print(f"table1: {begun[0]} of {total}: {one.name}{where}; log: {one.log}", flush=True)
        if _run(one, gpu):
            with lock:
                failed.append(one)
                print(f"table1: {one.name} failed; the last lines of {one.log}:", file=sys.stderr)
                print("\n".join(one.log.read_text(encoding="utf-8").splitlines()[-5:]), file=sys.stderr, flush=True)

    def work(gpu: str | None) -> None:
        while True:
            try:
                one = waiting.get_nowait()
            except Empty:
                return
            go(one, gpu)

    places: list[str | None] = list(gpus) or [None]
    if runs:
        go(runs[0], places[0])
    threads = [threading.Thread(target=work, args=(gpu,), daemon=True) for gpu in places]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failed


def _run(one: Run, gpu: str | None) -> int:
    """Run one experiment; returns its exit status. A stale one of its name is replaced when the new one is there."""
    one.log.parent.mkdir(parents=True, exist_ok=True)
    environment = os.environ | ({"CUDA_VISIBLE_DEVICES": gpu} if gpu else {})
    known, new = experiments.commits(), f"{one.name}-new"
    with one.log.open("w", encoding="utf-8") as log:

        def dvc(*arguments: str) -> int:
            command = [sys.executable, "-m", "dvc", "exp", *arguments]
            return subprocess.run(command, stdout=log, stderr=subprocess.STDOUT, env=environment).returncode

        if new in known:  # a process was killed before it could rename it
            dvc("remove", new)
        settings = (word for setting in one.settings for word in ("--set-param", setting))
        if status := dvc("run", "--temp", "--name", new, *settings):
            return status
        if one.name in known:
            dvc("remove", one.name)
        return dvc("rename", new, one.name)

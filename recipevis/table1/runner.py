"""Run the experiments of the table that are missing, one process a GPU, without DVC's queue.

The queue skips experiments, and fails without a log (treeverse/dvc issues 10562, 10779, 8192). `dvc exp run --temp`
stashes the workspace while it starts: killed then, it leaves `params.yaml` changed and drops staged files, and of
several that start at once some fail, since each waits only seconds for DVC's lock. So each row is a `dvc exp run` in a
clone of its own, with the workspace's files and DVC's cache. The workspace is only read; an experiment that ended well
is fetched from the clone.
"""

import fcntl
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import IO, Any

from ruamel.yaml import YAML

from recipevis.core import files
from recipevis.errors import InputError, ParameterError
from recipevis.table1 import experiments
from recipevis.table1.rows import ROW_KEYS, Row

LOGS = Path("logs/table1")
CLONES = Path(".dvc/tmp/table1")
CYCLE_WEIGHT = 0.1  # of the rows with the cycle loss, where the parameter file has it off
_USER = ("user.name", "user.email")
_ASK_S = 1.0  # seconds between two looks at the log of the first run
_DVC = (sys.executable, "-m", "dvc")


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


def plan(
    rows: Sequence[Row], seeds: Sequence[int], cycle_weight: float | None = None, more: Sequence[str] = ()
) -> list[Run]:
    """The experiments that are missing or stale.

    Args:
        rows: of the table; those without a training are left out.
        seeds: of the trainings.
        cycle_weight: weight of the cycle loss in the rows that have it, above 0; None: the parameter file's, or
            `CYCLE_WEIGHT` where that is 0.
        more: further settings of all experiments, `key=value` each.

    Raises:
        ParameterError: a setting has no key, or one that a row sets; the cycle loss has no weight.
    """
    known, values, runs = experiments.commits(), files.read_yaml(Path("params.yaml")), []
    if cycle_weight is None:
        cycle_weight = values["cycle"]["weight"] or CYCLE_WEIGHT
    if cycle_weight <= 0:
        raise ParameterError(f"--cycle-weight {cycle_weight:g}: must be above 0; rows without the loss set it to 0")
    for setting in more:
        key = setting.partition("=")[0]
        if "=" not in setting or key.lstrip("+~") in ROW_KEYS:
            raise ParameterError(f"--set {setting}: must be key=value, and not {', '.join(ROW_KEYS)}: rows set these")
    for seed in seeds:
        for row in rows:
            if row.fuser is None:
                continue
            own = (f"{key}={value}" for key, value in row.settings(seed, cycle_weight).items())
            settings = (*more, *own)
            if why := _stale(known.get(row.experiment(seed)), values, settings):
                runs.append(Run(row, seed, settings, why))
    return runs


def _stale(commit: str | None, values: Mapping[str, Any], settings: Sequence[str]) -> str:
    """Why an experiment must run; empty if it is there as it would be made now."""
    if commit is None:
        return "missing"
    try:
        keys = experiments.lineage(commit).keys
    except InputError as error:
        return f"stale: {error}"
    expected, found = _with(values, settings), _flat(experiments.parameters(commit))
    different = sorted(key for key in expected | found if expected.get(key) != found.get(key) and _is_in(key, keys))
    if different := different + experiments.changed_code(commit):
        return f"stale: {', '.join(different)}"
    return "stale: other videos" if experiments.has_other_data(commit) else ""


def _is_in(key: str, groups: frozenset[str]) -> bool:
    """Whether a dotted key is one of some keys, or below it."""
    parts = key.split(".")
    return any(".".join(parts[:length]) in groups for length in range(1, len(parts) + 1))


def _with(values: Mapping[str, Any], settings: Sequence[str]) -> dict[str, Any]:
    """Parameters by their dotted keys, with some of them set."""
    reader = YAML(typ="safe", pure=True)
    pairs = (setting.partition("=") for setting in settings)
    return _flat(values) | {key.lstrip("+"): reader.load(value) for key, _, value in pairs}


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Every value by its dotted key."""
    found = {}
    for key, value in values.items():
        found |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def run(runs: Sequence[Run], gpus: Sequence[str]) -> list[Run]:
    """Run experiments, and return those that failed; a failure stops no other.

    All run the files that the workspace has now. The first runs alone until it trains: it makes what all of them
    share, such as frames and embeddings. A process that is killed leaves its half-done training in `RECIPEVIS_HOME`,
    where the next one goes on.

    Args:
        runs: from `plan`.
        gpus: numbers of GPUs, one process each; empty: one process, on whatever device the parameters name.

    Raises:
        InputError: there is no commit to start from.
    """
    if not runs:
        return []
    state = _snapshot()
    waiting, failed, lock, begun = SimpleQueue(), [], threading.Lock(), [0]
    for one in runs:
        waiting.put(one)
    shared = threading.Event()  # what all rows share is there, or the first has failed

    def go(one: Run, gpu: str | None) -> None:
        with lock:
            begun[0] += 1
            where = f", GPU {gpu}" if gpu else ""
            print(f"table1: {begun[0]} of {len(runs)}: {one.name}{where}; log: {one.log}", flush=True)
        try:
            _run(one, gpu, state, shared)
        except (InputError, OSError, shutil.Error) as error:
            with lock:
                failed.append(one)
                print(f"table1: {one.name} failed: {error}", file=sys.stderr, flush=True)
        finally:
            shared.set()

    def work(gpu: str | None, is_first: bool) -> None:
        if not is_first:
            shared.wait()
        while True:
            try:
                one = waiting.get_nowait()
            except Empty:
                return
            go(one, gpu)

    places: list[str | None] = list(gpus) or [None]
    threads = [threading.Thread(target=work, args=(gpu, number == 0), daemon=True) for number, gpu in enumerate(places)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failed


@dataclass(frozen=True)
class _Snapshot:
    """The workspace at one moment.

    Attributes:
        head: the commit that experiments start from.
        files: a commit with the files as they are, changes included.
        cache: of DVC.
        user: name and e-mail for commits.
    """

    head: str
    files: str
    cache: Path
    user: Mapping[str, str]


def _snapshot() -> _Snapshot:
    """The workspace now. Files that git doesn't know are not in it, as in `dvc exp run --temp`."""
    head = experiments.git("rev-parse", "HEAD").strip()
    changed = experiments.git("stash", "create").strip()  # makes a commit and changes no file; empty: nothing changed
    listed = experiments.git("config", "--list").splitlines()
    user = {key: value for key, _, value in (line.partition("=") for line in listed) if key in _USER}
    answer = subprocess.run([*_DVC, "cache", "dir"], capture_output=True, text=True)
    if answer.returncode:
        raise InputError(f"dvc cache dir: {' '.join(answer.stderr.split())}")
    return _Snapshot(head, changed or head, Path(answer.stdout.strip()).absolute(), user)


def _run(one: Run, gpu: str | None, state: _Snapshot, shared: threading.Event) -> None:
    """Run one experiment in its clone, and fetch it.

    Raises:
        InputError: it fails; the message has the last line of its log.
    """
    before = experiments.commits().get(one.name)
    with _lock(one.name) as lock, _opened(one.log) as log:
        now = experiments.commits().get(one.name)
        if now != before:  # another process made it while this one waited for the lock
            return
        clone = CLONES / one.name
        try:
            _clone(clone, state, log)
            environment = os.environ | {
                "RECIPEVIS_HOME": str(files.home()),
                "RECIPEVIS_WORKSPACE": str(Path.cwd()),  # where relative paths start; DVC says the clone
            }
            environment |= {"CUDA_VISIBLE_DEVICES": gpu} if gpu else {}
            command = [*_DVC, "exp", "run", "--name", one.name]
            command += [word for setting in one.settings for word in ("--set-param", setting)]
            process = subprocess.Popen(
                command,
                cwd=clone,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment,
                pass_fds=(lock,),  # held as long as DVC lives, also without this process
            )
            while process.poll() is None:
                try:
                    process.wait(_ASK_S)
                except subprocess.TimeoutExpired:
                    if not shared.is_set() and "\nRunning stage 'train'" in one.log.read_text(errors="replace"):
                        shared.set()
            if process.returncode:
                raise InputError(f"{_last_line(one.log)}; log: {one.log}")
            _fetch(clone, one.name)
        finally:
            shutil.rmtree(clone, ignore_errors=True)


@contextmanager
def _opened(log: Path) -> Iterator[IO[str]]:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as file:
        yield file


@contextmanager
def _lock(name: str) -> Iterator[int]:
    """Hold the lock of an experiment's name; another process, or one that outlived it, is waited for."""
    CLONES.mkdir(parents=True, exist_ok=True)
    with (CLONES / f"{name}.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print(f"table1: another process runs {name}; waiting for it to end", flush=True)
            fcntl.flock(file, fcntl.LOCK_EX)
        yield file.fileno()


def _clone(clone: Path, state: _Snapshot, log: IO[str]) -> None:
    """Clone the project with the workspace's files, and DVC's cache. A killed process may have left an older clone."""
    shutil.rmtree(clone, ignore_errors=True)
    source, local = Path.cwd(), Path(".dvc/config.local")

    def call(*command: str, must: bool = True) -> None:
        done = subprocess.run(command, cwd=clone.parent if command[1] == "clone" else clone, stdout=log, stderr=log)
        if must and done.returncode:
            name = " ".join(command).removeprefix(" ".join(_DVC[:-1]) + " ")
            raise InputError(f"{name} failed; log: {log.name}")

    call("git", "clone", "--quiet", "--no-checkout", str(source), str(clone.name))
    for key, value in state.user.items():
        call("git", "config", key, value)
    call("git", "update-ref", "--no-deref", "HEAD", state.head)
    call("git", "read-tree", "-u", "--reset", state.files)
    if local.exists():
        shutil.copy(local, clone / local)
    # Relative, since DVC writes settings in ASCII only, and the project's path may have other letters.
    call(*_DVC, "cache", "dir", "--quiet", "--local", os.path.relpath(state.cache, clone))
    # What the cache has needs no run. What it lacks is made.
    call(*_DVC, "checkout", "--quiet", "--allow-missing", must=False)


def _fetch(clone: Path, name: str) -> None:
    """Bring an experiment from its clone, and remove older ones of its name."""
    source = str(clone.absolute())
    refs = [line.split("\t") for line in experiments.git("ls-remote", source, f"refs/exps/*/*/{name}").splitlines()]
    if len(refs) != 1:
        raise InputError(f"dvc exp run left no experiment {name}; log: {LOGS / name}.log")
    [[commit, ref]] = refs
    experiments.git("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", source, f"+{ref}:{ref}")
    experiments.remove(name, but=commit)


def _last_line(log: Path) -> str:
    lines = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "it printed nothing"

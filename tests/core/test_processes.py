"""Starting a module in several processes: what they know, how they end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from recipevis.core import processes

MODULE = """
import os, sys, time
from pathlib import Path
from recipevis.core import processes

processes.end_with_launcher()
folder = processes.given_folder()
known = f"{processes.rank()} of {os.environ['WORLD_SIZE']}, launches: {processes.launch('told', 2, folder)}"
(folder / f"{processes.local_rank()}.txt").write_text(known)
if (folder / "wait").exists():
    time.sleep(60)
sys.exit(7 if (folder / "fail").exists() and processes.rank() else 0)
"""


@pytest.fixture
def module(tmp_path, monkeypatch) -> Path:
    """The folder of a module `told`, which writes what it knows into a folder `work`."""
    (tmp_path / "told.py").write_text(MODULE)
    (tmp_path / "work").mkdir()
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), str(Path(processes.__file__).parents[2])]))
    return tmp_path


def test_each_knows_its_number_and_the_folder(module):
    before, handler = dict(os.environ), signal.getsignal(signal.SIGINT)
    assert processes.launch("told", 2, module / "work")
    assert dict(os.environ) == before
    assert signal.getsignal(signal.SIGINT) is handler
    told = [(module / f"work/{number}.txt").read_text() for number in range(2)]
    assert told == ["0 of 2, launches: False", "1 of 2, launches: False"]


def test_one_is_not_launched(module):
    assert not processes.launch("told", 1, module / "work")
    assert not list((module / "work").iterdir())
    assert (processes.rank(), processes.local_rank(), processes.given_folder()) == (0, None, None)


def test_a_failed_process_ends_all_with_its_status(module):
    (module / "work/fail").touch()
    with pytest.raises(SystemExit) as ended:
        processes.launch("told", 2, module / "work")
    assert ended.value.code == 7


def test_interrupted_all_end(module):
    (module / "work/wait").touch()
    code = f"import pathlib, recipevis.core.processes as p; p.launch('told', 2, pathlib.Path({str(module / 'work')!r}))"
    launcher = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while len(list((module / "work").glob("*.txt"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    launcher.send_signal(signal.SIGINT)
    told = launcher.communicate(timeout=60)[1]
    assert told.rstrip().endswith("KeyboardInterrupt")
    assert launcher.returncode != 0


def test_when_the_launcher_is_killed_all_end(module):
    """They hold no lock: the next run would work in the same folder beside them."""
    (module / "work/wait").touch()
    code = f"import pathlib, recipevis.core.processes as p; p.launch('told', 2, pathlib.Path({str(module / 'work')!r}))"
    launcher = subprocess.Popen([sys.executable, "-c", code])
    deadline = time.monotonic() + 60
    while len(list((module / "work").glob("*.txt"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    launched = psutil.Process(launcher.pid).children(recursive=True)
    assert len(launched) >= 2
    launcher.kill()
    launcher.wait()
    assert not psutil.wait_procs(launched, timeout=20)[1]

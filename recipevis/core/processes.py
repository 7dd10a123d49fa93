"""Runs a stage on several processes: starts them, gives each a rank, stops all when one fails.

`launch` here, `torchrun` or `accelerate launch` for several machines: each sets RANK, LOCAL_RANK and WORLD_SIZE, which
Accelerate reads. `launch` also hands its work folder to the processes that it starts.
"""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

_FOLDER, _LAUNCHER = "RECIPEVIS_WORK_FOLDER", "RECIPEVIS_LAUNCHER"
_SECONDS_BETWEEN_LOOKS = 0.2


def rank() -> int:
    """The number of this process among all of them, from 0; 0 if it is alone."""
    return int(os.environ.get("RANK", 0))


def local_rank() -> int | None:
    """The number of this process among those of this machine, from 0; None if nothing launched it."""
    return int(os.environ["LOCAL_RANK"]) if "LOCAL_RANK" in os.environ else None


def given_folder() -> Path | None:
    """The work folder of the stage that launched this process; None if no stage did."""
    return Path(os.environ[_FOLDER]) if _FOLDER in os.environ else None


def end_with_launcher() -> None:
    """End this process soon after its launcher ends, even by a kill: the launcher holds the work folder's lock."""
    if _LAUNCHER not in os.environ:
        return

    def watch() -> None:
        while os.getppid() == int(os.environ[_LAUNCHER]):
            time.sleep(_SECONDS_BETWEEN_LOOKS)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def launch(module: str, count: int, folder: Path) -> bool:
    """Run a module in `count` processes of this machine and wait for all of them.

    torch's own launcher needs more code to keep exit statuses, Ctrl-C and its log apart from ours.

    Args:
        module: for `python -m`.
        count: number of processes.
        folder: the work folder, which `given_folder` returns in each process.

    Returns:
        False if nothing was launched: one process is enough, or this is already one of several.

    Raises:
        SystemExit: a process failed; with its exit status. It has printed why.
        KeyboardInterrupt: by Ctrl-C.
    """
    if count == 1 or local_rank() is not None:
        return False
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    shared = {
        _FOLDER: str(folder),
        _LAUNCHER: str(os.getpid()),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
    }
    started: list[subprocess.Popen] = []
    try:
        for number in range(count):
            own = {"RANK": str(number), "LOCAL_RANK": str(number)}
            started.append(subprocess.Popen([sys.executable, "-m", module], env=os.environ | shared | own))
        statuses = _wait(started)
    finally:
        for process in started:
            process.kill()
        for process in started:
            process.wait()
    if failed := [status for status in statuses if status]:
        explained = [status for status in failed if status in (2, 3)]  # the others ended because of this one
        status = (explained or failed)[0]
        sys.exit(status if status > 0 else 128 - status)  # killed by a signal: as a shell reports it
    return True


def _wait(started: list[subprocess.Popen]) -> list[int | None]:
    """Wait until all processes have ended or one has failed; their exit statuses, None for those that still run."""
    while True:
        statuses = [process.poll() for process in started]
        if any(statuses) or None not in statuses:
            return statuses
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def lost_another(error: RuntimeError) -> bool:
    """Whether an error only says that another of several processes has ended."""
    return local_rank() is not None and any(
        sign in str(error).lower() for sign in ("closed by peer", "reset by peer", "remote worker", "remote process")
    )

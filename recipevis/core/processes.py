"""A stage on several processes of one or more machines: started by torch's launcher, told apart by its environment.

What started a process (`launch` here, `torchrun` or `accelerate launch` for several machines) sets RANK, LOCAL_RANK
and WORLD_SIZE, which Accelerate reads. A stage that started its processes itself also tells them its folder.
"""

import logging
import os
import signal
import sys
import threading
import time
from pathlib import Path

_FOLDER, _LAUNCHER = "RECIPEVIS_WORK_FOLDER", "RECIPEVIS_LAUNCHER"
_HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def rank() -> int:
    """Which of the processes this one is, from 0; 0 where there is one."""
    return int(os.environ.get("RANK", 0))


def local_rank() -> int | None:
    """Which of this machine's processes this one is, from 0; None where nothing launched it."""
    return int(os.environ["LOCAL_RANK"]) if "LOCAL_RANK" in os.environ else None


def given_folder() -> Path | None:
    """The folder of half-done work that the stage which launched this process holds; None where nothing did."""
    return Path(os.environ[_FOLDER]) if _FOLDER in os.environ else None


def end_with_launcher() -> None:
    """Have this process end when the one that launched it does, even by a kill: it holds the work folder's lock."""
    if _LAUNCHER not in os.environ:
        return

    def watch() -> None:
        while os.getppid() == int(os.environ[_LAUNCHER]):
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def launch(module: str, count: int, folder: Path) -> bool:
    """Run a module in `count` processes of this machine and wait for them all.

    Args:
        module: for `python -m`.
        count: how many.
        folder: of the half-done work, which `given_folder` tells each of them.

    Returns:
        False, and nothing was run, if one is enough or this is one of several already.

    Raises:
        SystemExit: one failed; with its exit status, after it has said why. Or this process was told to end.
        KeyboardInterrupt: by Ctrl-C.
    """
    if count == 1 or local_rank() is not None:
        return False
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs  # slow to import, seldom needed
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    theirs = {_FOLDER: str(folder), _LAUNCHER: str(os.getpid())}
    mine, handlers = dict(os.environ), {number: signal.getsignal(number) for number in _HANDLED}
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("torch.distributed.elastic")]:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # the process has told what failed
    config = LaunchConfig(
        run_id=module,
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        local_addr="localhost",  # a machine may not be able to resolve its own name
        max_restarts=0,
        logs_specs=DefaultLogsSpecs(log_dir=str(folder / "launcher")),  # it makes folders there, and writes nothing
    )
    try:
        os.environ.update(theirs)  # the launcher hands it on
        elastic_launch(config, sys.executable)("-m", module)
    except SignalException as error:
        if error.sigval == signal.SIGINT:
            raise KeyboardInterrupt from None
        sys.exit(128 + error.sigval)
    except ChildFailedError as error:
        statuses = [failure.exitcode for failure in error.failures.values()]
        told = [status for status in statuses if status in (2, 3)]  # it knew why; the others ended for its sake
        status = (told or statuses)[0]
        sys.exit(status if status > 0 else 128 - status)  # killed by a signal: as a shell says it
    finally:
        os.environ.clear()
        os.environ.update(mine)
        for number, handler in handlers.items():  # the launcher leaves its own
            signal.signal(number, handler)
    return True


def lost_another(error: RuntimeError) -> bool:
    """Whether an error says no more than that another of several processes has ended."""
    return local_rank() is not None and any(
        sign in str(error).lower() for sign in ("closed by peer", "reset by peer", "remote worker", "remote process")
    )

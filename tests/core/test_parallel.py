"""Threads and a Dask cluster give the same rows, also when a worker dies."""

import os
import signal
import threading
from concurrent.futures import Future

import numpy as np
import pytest
from distributed import LocalCluster

from recipevis.core import parallel
from recipevis.data import ffmpeg, frames
from recipevis.data.download import download
from recipevis.data.sources.local import Local
from recipevis.data.store import Store
from recipevis.data.tables.recipes import Recipe, Step
from recipevis.errors import InputError


def _never(result) -> bool:
    return False


def test_results_are_in_the_items_order():
    assert parallel.each(lambda x: x * x, range(20), 4, "square", _never) == [x * x for x in range(20)]


def test_what_a_call_raises_ends_everything(monkeypatch):
    called, cancelled, all_cancelled, cancel = [], [], threading.Event(), Future.cancel

    def counted(future):
        cancelled.append(cancel(future))
        if len(cancelled) == 100:
            all_cancelled.set()

    def broken(number):
        called.append(number)
        if number == 0:
            raise InputError("zero")
        if not all_cancelled.wait(5):
            all_cancelled.set()  # so that the test fails soon

    monkeypatch.setattr(Future, "cancel", counted)
    with pytest.raises(InputError, match="zero"):
        parallel.each(broken, range(100), 2, "count", _never)
    assert len(called) <= 3, "the broken one, and those that had begun"


def test_results_before_their_turn():
    """A long first item keeps no thread from the others, if all may be computed before their turn."""
    others_done, done = threading.Event(), []

    def work(number):
        if number == 0:
            assert others_done.wait(5), "the other items wait for the first one"
        else:
            done.append(number)
            if len(done) == 19:
                others_done.set()
        return number

    assert list(parallel.in_order(work, range(20), 2, ahead=20)) == list(range(20))


def test_threads_where_the_cores_of_a_process_are_unknown(monkeypatch):
    """As on macOS."""
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 3)
    assert (parallel.threads("cpu"), parallel.threads("cuda")) == (3, 1)


def test_a_scheduler_that_does_not_answer(monkeypatch):
    import distributed

    def refuse(*arguments, **options):
        raise OSError("Timed out trying to connect")

    monkeypatch.setattr(distributed, "Client", refuse)
    with pytest.raises(InputError, match=r"execution\.dask: tcp://127"):
        parallel.each(abs, [1], 1, "count", _never, "tcp://127.0.0.1:9")


@pytest.fixture
def cluster():
    with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        yield cluster


def _die_once(number: int, marks: str) -> int:
    """Kills its own process the first time that the item 5 is done."""
    mark = os.path.join(marks, "died")
    if number == 5 and not os.path.exists(mark):
        open(mark, "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    return number * 2


def test_both_stages_on_a_cluster_whose_worker_is_killed(cluster, tmp_path):
    from functools import partial

    address = cluster.scheduler_address
    marks = tmp_path / "marks"
    marks.mkdir()
    doubled = parallel.each(partial(_die_once, marks=str(marks)), range(12), 1, "double", _never, address)
    assert doubled == [number * 2 for number in range(12)]
    assert (marks / "died").exists()

    videos = tmp_path / "videos"
    videos.mkdir()
    pictures = np.random.default_rng(0).integers(0, 255, (12, 64, 64, 3), dtype=np.uint8)
    for number in range(6):
        ffmpeg.write(videos / f"video-{number}.mp4", pictures[: 6 + number], rate=2)
    steps = (Step(0, 0.0, 2.0, "stir"), Step(1, 3.0, 6.5, "serve"))
    recipes = [Recipe(f"video-{number}", "training", "1", 6.0, steps) for number in range(7)]  # one has no file
    tables = []
    for name, dask in (("threads", None), ("cluster", address)):
        work = tmp_path / name
        (work / "download").mkdir(parents=True)
        (work / "frames").mkdir()
        store = Store(Local(videos))
        table, _ = download(recipes, store, 2, work / "download", dask)
        rows = frames.extract(
            recipes, table, store.folder, store.refetch, 32, "squash", 2, work / "frames", "frames", dask
        )
        saved = {path.name: path.read_bytes() for path in sorted((work / "frames/frames").iterdir())}
        tables.append((table.to_csv(), rows.to_csv(), saved))
    assert tables[0] == tables[1]
    assert len(tables[0][2]) > 6

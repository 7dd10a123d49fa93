"""When the next video may be asked for, and how many failed alike in a row."""

import random
import threading
import time

from recipevis.errors import SourceError

_NAP_S = 1  # a waiting thread looks this often whether another one has stopped the source


class Pace:
    """When the next video may be requested. All threads of a process share it: each one pauses between two of its
    videos, and after a refusal all of them pause.

    Args:
        pause_s: shortest and longest pause between two videos of one thread, seconds.

    Attributes:
        stopped: why the source has stopped; empty while it goes on.
    """

    def __init__(self, pause_s: tuple[float, float]):
        self._pause_s = pause_s
        self._lock, self._begun = threading.Lock(), False
        self._until, self.stopped = 0.0, ""  # when the pause after a refusal ends

    def wait(self) -> None:
        """Wait for the pause between two videos, or for the longer one after a refusal.

        Raises:
            SourceError: the source has stopped.
        """
        with self._lock:
            pause_s = random.uniform(*self._pause_s) if self._begun else 0
            self._begun = True
        until = time.time() + pause_s
        while True:
            if self.stopped:
                raise SourceError(self.stopped)
            left_s = max(until, self._until) - time.time()
            if left_s <= 0:
                return
            time.sleep(min(left_s, _NAP_S))

    def hold(self, seconds: float) -> None:
        """Let all threads pause, `seconds` from now."""
        with self._lock:
            self._until = max(self._until, time.time() + seconds)

    def stop(self, message: str) -> None:
        """Let all threads end with a SourceError; the first message stays."""
        with self._lock:
            self.stopped = self.stopped or message


class Streak:
    """Failures alike in a row. Thread-safe.

    A failure that was noted in an earlier run isn't counted, and lets one more fail: whoever reruns has read what may
    be at fault, and each run must get further than the one before.
    """

    def __init__(self):
        self._lock = threading.Lock()
        self.end()

    def end(self) -> None:
        """A video came, or a known one answered."""
        with self._lock:
            self._begin("")

    def _begin(self, group: str) -> None:
        self._group, self._new, self._noted = group, 0, 0
        self._ids: dict[str, None] = {}

    def failed(self, group: str, video_id: str, noted: bool, most: int) -> tuple[int, bool, list[str]]:
        """Count one more.

        Args:
            group: failures of one group are alike; one of another group begins a new streak.
            video_id: which video failed.
            noted: whether it failed alike in an earlier run.
            most: so many failures make a streak long.

        Returns:
            how many were counted, whether the streak is long, and its videos.
        """
        with self._lock:
            if group != self._group:
                self._begin(group)
            self._new, self._noted = self._new + (not noted), self._noted + noted
            self._ids[video_id] = None
            return self._new, self._new >= most + self._noted, list(self._ids)

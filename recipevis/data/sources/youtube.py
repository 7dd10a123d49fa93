"""Videos through yt-dlp, at a pace that is tolerated."""

import io
import json
import os
import random
import re
import time
from collections.abc import Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import filelock

from recipevis.core import files
from recipevis.data import ffmpeg
from recipevis.data.sources.base import NOT_VIDEOS, REFUSALS, FetchError, Source, digest
from recipevis.errors import InputError, SourceError, disk_full

COOKIES = ("RECIPEVIS_COOKIES", "RECIPEVIS_COOKIES_FROM_BROWSER")  # environment variables: a file, a browser's name
REFUSALS_IN_A_ROW = 5  # and asking on would only make it worse
UNANSWERED_IN_A_ROW = 20  # videos without an answer: more likely there is no network than that all of them are gone
# Times that one video is asked for: yt-dlp's own retries don't cover every request. No more, since a video that is
# refused to everyone but its members must not stop the stage.
_ASKED_EACH = 2
_WORTH_ANOTHER = REFUSALS | {"network"}
_LONGEST_PAUSE_S = 3600  # also where the server wants a longer one
_NAP_S = 1  # between two looks at what the others met


class YouTube(Source):
    """Downloads through yt-dlp, from YouTube or whatever else it knows.

    Cookies and proxy come from the environment: `RECIPEVIS_COOKIES` (a file), `RECIPEVIS_COOKIES_FROM_BROWSER` (a
    browser's name), `RECIPEVIS_PROXY` (an address), and are read once.

    Args:
        url: the address, with `{video_id}` in it.
        format: yt-dlp's format selector.
        retries: tries per request.
        timeout_s: seconds without an answer that end a request.
        pause_s: shortest and longest pause between two videos, seconds.
        backoff_s: pause after a refusal, seconds; it doubles with each further one in a row.

    Raises:
        InputError: cookies are named that can't be read.
    """

    remote = True

    def __init__(
        self, url: str, format: str, retries: int, timeout_s: float, pause_s: Sequence[float], backoff_s: float
    ):
        super().__init__(f"youtube-{digest(url, format)}", f"{url}, {format}")
        self._url, self._cookies = url, _cookies()
        self._pace = Pace(self.folder / ".pace.json", self.run, tuple(pause_s), backoff_s)
        self._options = {
            "format": format,
            "retries": retries,
            "fragment_retries": retries,
            "extractor_retries": min(retries, 3),
            "socket_timeout": timeout_s,
            "noplaylist": True,
            "cachedir": False,
            "quiet": True,
            "noprogress": True,
            "logger": _Silent(),
        }
        if proxy := os.environ.get("RECIPEVIS_PROXY"):
            self._options["proxy"] = proxy

    def _fetch(self, video_id: str, folder: Path) -> Path:
        for times in count(1):
            self._pace.wait()
            try:
                path = self._ask(video_id, folder)
            except FetchError as error:
                last = times == _ASKED_EACH or error.kind not in _WORTH_ANOTHER
                if error.kind in REFUSALS:
                    self._pace.refused(error)
                elif error.kind != "network":
                    self._pace.answered()
                elif last:
                    self._pace.unanswered(f"{self._url}: {error}")
                if last:
                    raise
            else:
                self._pace.answered()
                return path

    def _ask(self, video_id: str, folder: Path) -> Path:
        import yt_dlp  # other sources need not wait for it

        options = self._options | {"outtmpl": _literally(folder) + "/video.%(ext)s", "ffmpeg_location": ffmpeg.FFMPEG}
        cookies = io.StringIO(self._cookies)  # no file, since yt-dlp writes to it what the server set
        if self._cookies:
            options["cookiefile"] = cookies
        try:
            with yt_dlp.YoutubeDL(options) as downloader:
                downloader.extract_info(self._url.replace("{video_id}", video_id))
            self._cookies = cookies.getvalue().lstrip("\0")  # it empties the stream, but writes on at its old place
        except yt_dlp.utils.YoutubeDLError as error:
            if re.search(_DISK_FULL, str(error), re.IGNORECASE):  # yt-dlp keeps no error number
                raise SourceError(disk_full(self.folder)) from error
            raise FetchError(_kind(error), str(error), _retry_after_s(error)) from error
        files = [path for path in folder.iterdir() if path.suffix.lower() not in NOT_VIDEOS]
        if len(files) != 1:
            raise FetchError("other", f"{len(files)} files of video came")
        return files[0]


def _literally(folder: Path) -> str:
    """A path in yt-dlp's template of a name, where `%` begins a field and `$` a variable of the environment."""
    return str(folder).replace("%", "%%").replace("$", "%(_|$)s")  # the second: a field that is never there, or `$`


def _cookies() -> str:
    """The cookies that the user named, in Netscape's form; empty where none are named.

    Raises:
        InputError: there are none, or they can't be read.
    """
    named = {variable: os.environ[variable] for variable in COOKIES if os.environ.get(variable)}
    if not named:
        return ""
    from yt_dlp.cookies import CookieLoadError, YoutubeDLCookieJar, load_cookies

    every, text = YoutubeDLCookieJar(), io.StringIO()
    for variable, value in named.items():
        file = files.user_path(value) if variable == COOKIES[0] else None
        if file and not file.is_file():
            raise InputError(f"{variable}: {file}: no such file")
        try:
            found = list(load_cookies(*((file, None) if file else (None, (value,))), None))
        except CookieLoadError as error:
            raise InputError(f"{variable}: {value}: can't be read: {error.__context__}") from error
        if not found:
            raise InputError(f"{variable}: {value}: holds no cookies")
        for cookie in found:
            every.set_cookie(cookie)
    every.save(text)
    return text.getvalue()


class Pace:
    """When the next video may be asked for. Each worker pauses for itself between two; after a refusal all do, threads
    and processes that share the file.

    Args:
        path: where it is kept: when the next may be asked for, how many answers in a row were refusals, and how many
            videos in a row had none.
        run: another run begins without a grudge.
        pause_s: shortest and longest pause between two videos of one worker, seconds.
        backoff_s: pause after a refusal, seconds; doubled with each further one in a row.
    """

    def __init__(self, path: Path, run: str, pause_s: tuple[float, float], backoff_s: float):
        self._path, self._pause_s, self._backoff_s = path, pause_s, backoff_s
        with self._state() as state:
            if state.get("run") != run:
                state.clear()
                state["run"] = run

    @contextmanager
    def _state(self):
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(self._path.with_suffix(".lock")):
            state = json.loads(self._path.read_text(encoding="utf-8")) if self._path.exists() else {}
            before = dict(state)
            yield state
            if state != before or not self._path.exists():
                files.write_json(self._path, state)

    def wait(self) -> None:
        """Wait for as long as between two videos, or as another's refusal demands.

        Raises:
            SourceError: meanwhile others met the last refusal that is put up with.
        """
        with self._state() as state:
            pause_s = random.uniform(*self._pause_s) if state.get("asked") else 0
            state["asked"] = True
        until = time.time() + pause_s
        while True:
            with self._state() as state:
                self._check(state)
                left_s = max(until, state.get("until", 0)) - time.time()
            if left_s <= 0:
                return
            time.sleep(min(left_s, _NAP_S))

    def answered(self) -> None:
        """An answer came that wasn't a refusal."""
        with self._state() as state:
            if not _end(state):
                state["refusals"] = state["unanswered"] = 0

    def unanswered(self, message: str) -> None:
        """A video had no answer, or only errors of the server.

        Args:
            message: the address and what was met.

        Raises:
            SourceError: it was the last that is put up with.
        """
        with self._state() as state:
            if not _end(state):
                state["refusals"], state["unanswered"] = 0, state.get("unanswered", 0) + 1
                state["message"] = message
        self._check(state)

    def refused(self, error: FetchError) -> None:
        """A refusal came; a line says for how long everyone pauses.

        Raises:
            SourceError: it was the last that is put up with.
        """
        with self._state() as state:
            if not _end(state):
                state["refusals"], state["unanswered"] = state.get("refusals", 0) + 1, 0
                state["message"] = f"{error.kind}: {error}"
            count = state.get("refusals", 0)
            pause_s = max(self._backoff_s * 2 ** (count - 1), error.retry_after_s)
            pause_s = min(pause_s, _LONGEST_PAUSE_S)
            state["until"] = time.time() + pause_s
        self._check(state)
        print(f"{error.kind}: pausing {pause_s:.0f} s, {count} of {REFUSALS_IN_A_ROW}", flush=True)

    def _check(self, state: dict[str, Any]) -> None:
        if end := _end(state):
            raise SourceError(end)


def _end(state: dict[str, Any]) -> str:
    """Why nothing more is asked for; empty while it is."""
    if state.get("refusals", 0) >= REFUSALS_IN_A_ROW:
        return (
            f"{REFUSALS_IN_A_ROW} refusals in a row, the last: {state['message']}. Wait an hour, or show who asks"
            " (RECIPEVIS_COOKIES=<file>, or RECIPEVIS_COOKIES_FROM_BROWSER=<browser>), or use videos of your own"
            " (dataset.source: local); then run the same again: what has come is kept"
        )
    if state.get("unanswered", 0) >= UNANSWERED_IN_A_ROW:
        return (
            f"no answer for {UNANSWERED_IN_A_ROW} videos in a row, the last: {state['message']}. Is there a network?"
            " When there is, run the same again: what has come is kept"
        )
    return ""


def _retry_after_s(error: Exception) -> float:
    """The seconds of an HTTP answer's header Retry-After, 0 if there is none or it is a date."""
    cause = (getattr(error, "exc_info", None) or (None, None))[1]
    response = getattr(getattr(cause, "cause", None) or cause, "response", None)
    value = response.headers.get("Retry-After", "") if response is not None else ""
    return float(value) if value.isdigit() else 0.0


class _Silent:
    """yt-dlp's messages come with its errors, too."""

    def debug(self, message: str) -> None:
        pass

    warning = error = debug


_DISK_FULL = r"no space left|errno 28|quota exceeded"
# What yt-dlp says, in the order of asking: the first that fits names the kind.
_MESSAGES = (
    ("age_or_country_locked", r"confirm your age"),  # "Sign in to confirm your age"
    ("rate_limited", r"HTTP Error 429|rate.?limit|too many requests"),
    ("private", r"private video|video is private"),
    ("private", r"members.?only|join this channel|available to this channel"),
    ("login_or_bot_check", r"not a bot|sign in|log ?in|cookies|HTTP Error 401"),
    (
        "age_or_country_locked",
        r"age.?restrict|confirm your age|inappropriate|your country|geo.?restrict|not available in",
    ),
    ("removed", r"removed|terminated|no longer available|copyright|deleted"),
    ("no_suitable_format", r"requested format is not available|no video formats"),
    ("not_found", r"HTTP Error (404|410)|video unavailable|does not exist|incomplete youtube id|video is unavailable"),
    ("damaged", r"unsupported url|is not a valid URL|file is empty|downloaded file is empty"),
    (
        "network",
        r"HTTP Error 5\d\d|timed? ?out|connection|unable to download|any data blocks|urlopen|resolve|incomplete|ssl"
        r"|reset|bytes read",
    ),
)


def _kind(error: Exception) -> str:
    """The class of a yt-dlp error, from its message: it has no finer types of its own."""
    return next((kind for kind, words in _MESSAGES if re.search(words, str(error), re.IGNORECASE)), "other")

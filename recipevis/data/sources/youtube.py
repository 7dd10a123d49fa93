"""Videos through yt-dlp, from YouTube or a mirror, at a pace that YouTube tolerates."""

import io
import os
import random
import re
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from recipevis.core import files
from recipevis.core.findings import Finding
from recipevis.data.sources.base import NOT_VIDEOS, PLAIN_ID, REFUSALS, FetchError, Source, digest
from recipevis.data.tables.recipes import Recipe
from recipevis.errors import InputError, SourceError, disk_full

YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
COOKIES = ("RECIPEVIS_COOKIES", "RECIPEVIS_COOKIES_FROM_BROWSER")  # environment variables: a file, a browser's name
REFUSALS_IN_A_ROW = 5  # then the stage stops: more requests would only make it worse
UNANSWERED_IN_A_ROW = 20  # then the stage stops: probably the network is down
# Requests for one video: yt-dlp's own retries don't cover every kind. A video for members only is refused each time, so
# there must be few.
_TRIES = 2
_WORTH_ANOTHER = REFUSALS | {"network"}
_LONGEST_PAUSE_S = 3600  # also where the server asks for a longer one
_NAP_S = 1  # a waiting thread looks this often whether another one has stopped the source
_YOUTUBE_HOST = re.compile(r"(.+\.)?(youtube\.com|youtu\.be)")


class YouTube(Source):
    """Downloads through yt-dlp, from YouTube or any other site that yt-dlp knows.

    Cookies and proxy come from the environment: `RECIPEVIS_COOKIES` (a file), `RECIPEVIS_COOKIES_FROM_BROWSER` (a
    browser's name), `RECIPEVIS_PROXY` (an address). They are read once.

    Args:
        url: the address of a video, with `{video_id}` in it.
        format: yt-dlp's format selector.
        retries: tries per request.
        timeout_s: seconds without an answer that end a request.
        pause_s: shortest and longest pause between two videos, seconds.
        backoff_s: pause after a refusal, seconds; doubled with each further refusal in a row.

    Raises:
        InputError: the cookies can't be read.
    """

    licence = "each video belongs to its author; YouTube's terms apply"
    video_bytes = 13.4e6  # five minutes at 360 lines
    remote = True

    def __init__(
        self, url: str, format: str, retries: int, timeout_s: float, pause_s: Sequence[float], backoff_s: float
    ):
        self.name, self.about = f"youtube-{digest(url, format)}", f"{url}, {format}"
        self._url, self._cookies = url, _cookies()
        self._pace = Pace(tuple(pause_s), backoff_s)
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

    @classmethod
    def from_config(cls, dataset: Any, download: Any) -> "YouTube":
        """See `Source.from_config`."""
        how = (download.retries, download.timeout_s, download.pause_s, download.backoff_s)
        return cls(dataset.url, download.format, *how)

    @classmethod
    def id_pattern(cls, dataset: Any) -> re.Pattern:
        """YouTube's ids have 11 characters; a mirror names its videos as it likes."""
        return YOUTUBE_ID if _YOUTUBE_HOST.fullmatch(urlsplit(dataset.url).hostname or "") else PLAIN_ID

    @classmethod
    def findings(cls, dataset: Any, recipes: Sequence[Recipe] | None) -> Iterator[Finding]:
        """Whether yt-dlp has a JavaScript runtime, and whether cookies are set."""
        runtime = next((name for name in ("deno", "node", "bun", "qjs") if shutil.which(name)), None)
        if runtime:
            yield Finding("JavaScript for yt-dlp", "ok", runtime)
        else:
            yield Finding("JavaScript for yt-dlp", "missing", "no deno, node, bun or qjs", "pip install deno")
        variable = next((name for name in COOKIES if os.environ.get(name)), None)
        if variable is None:
            yield Finding("cookies", "note", "none: about 300 videos an hour as a guest", f"set {COOKIES[0]}")
        elif variable == COOKIES[0] and not files.user_path(os.environ[variable]).is_file():
            text = f"{files.user_path(os.environ[variable])}: no such file"
            yield Finding("cookies", "missing", text, f"set {variable}")
        else:
            yield Finding("cookies", "ok", f"from {variable}")

    def fetch(self, video_id: str, folder: Path) -> Path:
        """See `Source.fetch`."""
        for tries in count(1):
            self._pace.wait()
            try:
                path = self._ask(video_id, folder)
            except FetchError as error:
                last = tries == _TRIES or error.kind not in _WORTH_ANOTHER
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
        import yt_dlp  # slow to import, and other sources don't need it

        from recipevis.data.ffmpeg import FFMPEG

        options = self._options | {"outtmpl": _literally(folder) + "/video.%(ext)s", "ffmpeg_location": FFMPEG}
        cookies = io.StringIO(self._cookies)  # not the user's file: yt-dlp writes the server's cookies into it
        if self._cookies:
            options["cookiefile"] = cookies
        try:
            with yt_dlp.YoutubeDL(options) as downloader:
                downloader.extract_info(self._url.replace("{video_id}", video_id))
            # yt-dlp truncates the stream and writes on at its old position, hence the zeros.
            self._cookies = cookies.getvalue().lstrip("\0")
        except yt_dlp.utils.YoutubeDLError as error:
            if re.search(_DISK_FULL, str(error), re.IGNORECASE):  # yt-dlp drops the error number
                raise SourceError(disk_full(files.home())) from error
            raise FetchError(_kind(error), str(error), _retry_after_s(error)) from error
        videos = [path for path in folder.iterdir() if path.suffix.lower() not in NOT_VIDEOS]
        if len(videos) != 1:
            raise FetchError("other", f"yt-dlp wrote {len(videos)} video files instead of one")
        return videos[0]


def _literally(folder: Path) -> str:
    """A path for yt-dlp's output template, in which `%` begins a field and `$` an environment variable."""
    return str(folder).replace("%", "%%").replace("$", "%(_|$)s")  # a field that never exists, with the default `$`


def _cookies() -> str:
    """The user's cookies in Netscape's format; empty if no variable is set.

    Raises:
        InputError: a variable is set, but its cookies can't be read or there are none.
    """
    variables = {variable: os.environ[variable] for variable in COOKIES if os.environ.get(variable)}
    if not variables:
        return ""
    from yt_dlp.cookies import CookieLoadError, YoutubeDLCookieJar, load_cookies

    jar, text = YoutubeDLCookieJar(), io.StringIO()
    for variable, value in variables.items():
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
            jar.set_cookie(cookie)
    jar.save(text)
    return text.getvalue()


class Pace:
    """When the next video may be requested. All threads of a process share it: each one pauses between two of its
    videos, and after a refusal all of them pause.

    Args:
        pause_s: shortest and longest pause between two videos of one thread, seconds.
        backoff_s: pause after a refusal, seconds; doubled with each further refusal in a row.
    """

    def __init__(self, pause_s: tuple[float, float], backoff_s: float):
        self._pause_s, self._backoff_s = pause_s, backoff_s
        self._lock, self._begun = threading.Lock(), False
        self._refusals = self._unanswered = 0  # in a row
        self._until, self._stopped = 0.0, ""  # when the pause after a refusal ends; why the source has stopped

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
            self._check()
            left_s = max(until, self._until) - time.time()
            if left_s <= 0:
                return
            time.sleep(min(left_s, _NAP_S))

    def answered(self) -> None:
        """The server answered, and didn't refuse."""
        with self._lock:
            self._refusals = self._unanswered = 0

    def unanswered(self, message: str) -> None:
        """A video got no answer, or only server errors.

        Args:
            message: the address and the error.

        Raises:
            SourceError: there were too many in a row.
        """
        with self._lock:
            self._refusals, self._unanswered = 0, self._unanswered + 1
            if self._unanswered >= UNANSWERED_IN_A_ROW:
                self._stopped = self._stopped or (
                    f"no answer for {UNANSWERED_IN_A_ROW} videos in a row, the last: {message}. Check the network, then"
                    " run the same command again: finished downloads are kept"
                )
        self._check()

    def refused(self, error: FetchError) -> None:
        """The server refused; prints how long all threads pause.

        Raises:
            SourceError: there were too many in a row.
        """
        with self._lock:
            self._refusals, self._unanswered = self._refusals + 1, 0
            refusals = self._refusals
            pause_s = min(max(self._backoff_s * 2 ** (refusals - 1), error.retry_after_s), _LONGEST_PAUSE_S)
            self._until = time.time() + pause_s
            if refusals >= REFUSALS_IN_A_ROW:
                self._stopped = self._stopped or (
                    f"{REFUSALS_IN_A_ROW} refusals in a row, the last: {error.kind}: {error}. Wait an hour, or set"
                    f" {COOKIES[0]}=<file> or {COOKIES[1]}=<browser>, or use your own videos (dataset.source: local);"
                    " then run the same command again: finished downloads are kept"
                )
        self._check()
        print(f"{error.kind}: pausing {pause_s:.0f} s, {refusals} of {REFUSALS_IN_A_ROW}", flush=True)

    def _check(self) -> None:
        if self._stopped:
            raise SourceError(self._stopped)


def _retry_after_s(error: Exception) -> float:
    """The seconds in an HTTP response's header Retry-After; 0 if it is absent or a date."""
    cause = (getattr(error, "exc_info", None) or (None, None))[1]
    response = getattr(getattr(cause, "cause", None) or cause, "response", None)
    value = response.headers.get("Retry-After", "") if response is not None else ""
    return float(value) if value.isdigit() else 0.0


class _Silent:
    """A logger that drops yt-dlp's messages: its errors carry them, too."""

    def debug(self, message: str) -> None:
        pass

    warning = error = debug


_DISK_FULL = r"no space left|errno 28|quota exceeded"
# yt-dlp's messages; the first pattern that matches gives the kind.
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
    """The kind of a yt-dlp error, by its message: yt-dlp has no finer exception types."""
    return next((kind for kind, words in _MESSAGES if re.search(words, str(error), re.IGNORECASE)), "other")

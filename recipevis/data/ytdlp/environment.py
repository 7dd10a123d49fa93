"""yt-dlp on this machine: its version, and what the environment says about options, cookies and a proxy."""

import contextlib
import importlib.metadata
import io
import os
import re
import shlex
import sys
from collections.abc import Iterator
from datetime import date
from typing import Any

from recipevis.core import files
from recipevis.core.findings import Finding
from recipevis.errors import InputError

COOKIES = ("RECIPEVIS_COOKIES", "RECIPEVIS_COOKIES_FROM_BROWSER")  # environment variables: a file, a browser's name
PROXY = "RECIPEVIS_PROXY"  # environment variable: an address
OPTIONS = "RECIPEVIS_YTDLP_ARGS"  # environment variable: options of yt-dlp's command line
_OLD_DAYS = 45  # yt-dlp has a release every few weeks, after most changes of YouTube's

# The options that change how yt-dlp asks, by their names in its parser. The rest decides which file comes and where it
# goes, or prints; that is RecipeVis's part.
_ALLOWED = re.compile(
    r"age_limit|allowed_extractors|ap_\w+|buffersize|cachedir|client_certificate\w*|compat_opts"
    r"|concurrent_fragment_downloads|external_downloader\w*|extractor_args|file_access_retries|force_generic_extractor"
    r"|geo_\w+|headers|hls_prefer_native|http_chunk_size|ignoreconfig|impersonate|js_runtimes|legacy_server_connect"
    r"|mark_watched|max_sleep_interval|netrc_\w+|no_check_certificate|noresizebuffer|prefer_insecure|ratelimit|referer"
    r"|remote_components|retry_sleep|sleep_interval\w*|source_address|throttledratelimit|twofactor|usenetrc|user_agent"
    r"|username|(video)?password"
)
_INSTEAD = {
    "format": "set download.format",
    "retries": "set download.retries",
    "fragment_retries": "set download.retries",
    "extractor_retries": "set download.retries",
    "socket_timeout": "set download.timeout_s",
    "cookiefile": f"set {COOKIES[0]}",
    "cookiesfrombrowser": f"set {COOKIES[1]}",
    "proxy": f"set {PROXY}",
    "plugin_dirs": "install the plugin with pip",
    "verbose": "logs/download.csv has the warnings",
}


class Log:
    """A logger that keeps yt-dlp's warnings, each on one line; its errors are raised, too."""

    def __init__(self):
        self.warnings: list[str] = []

    def warning(self, message: str) -> None:
        """Called by yt-dlp."""
        self.warnings.append(" ".join(str(message).split()))

    def debug(self, message: str) -> None:
        """Called by yt-dlp."""

    error = debug


def version(package: str) -> str:
    """An installed package's version, without a slow import; empty if it isn't installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def update_command() -> str:
    """The command that updates yt-dlp alone, with the scripts that belong to it."""
    return f"{shlex.quote(sys.executable)} -m pip install -U yt-dlp yt-dlp-ejs"


def age(version: str, today: date) -> Finding:
    """How old yt-dlp is; its version is a date."""
    try:
        days = (today - date(*map(int, version.split(".")[:3]))).days
    except (ValueError, TypeError):
        return Finding("yt-dlp", "ok", version)
    text = f"{version}, {days} days old"
    if days <= _OLD_DAYS:
        return Finding("yt-dlp", "ok", text)
    return Finding("yt-dlp", "note", f"{text}; YouTube changes within weeks", update_command())


def users_options() -> dict[str, Any]:
    """What `RECIPEVIS_YTDLP_ARGS` changes in yt-dlp's options, for its Python interface.

    Raises:
        InputError: yt-dlp doesn't know an option or its value, or RecipeVis sets the option itself.
    """
    words = os.environ.get(OPTIONS, "")
    if not words.strip():
        return {}
    import yt_dlp

    with _one_line():
        _, logins, _ = yt_dlp.options.parseOpts(shlex.split(words))
        for name in ("username", "ap_username"):
            if getattr(logins, name) is not None and getattr(logins, name.replace("username", "password")) is None:
                raise ValueError(f"--{name.replace('_', '-')}: its password is missing; --netrc reads both from a file")
        plain, given = yt_dlp.parse_options([]), yt_dlp.parse_options(shlex.split(words))
    if given.urls:
        raise InputError(f"{OPTIONS}: {given.urls[0]}: not an option; the videos are those of the annotations")
    before = vars(plain.options)
    for name, value in vars(given.options).items():
        if value != before[name] and not name.startswith("_") and not _ALLOWED.fullmatch(name):
            option = given.parser.get_option(f"--{name.replace('_', '-')}")
            option = option or next((one for one in _all_options(given.parser) if one.dest == name), name)
            raise InputError(f"{OPTIONS}: {option}: RecipeVis sets this itself; {_INSTEAD.get(name, 'leave it out')}")
    options = {
        name: value
        for name, value in given.ydl_opts.items()
        if value != plain.ydl_opts[name] and not name.startswith("_")
    }
    with _one_line():  # yt-dlp checks some values only here; last, since it also writes to some of the files named
        log = Log()
        yt_dlp.YoutubeDL({"quiet": True, "logger": log} | options).close()
        if ignored := [warning for warning in log.warnings if "unsupported" in warning.lower()]:
            raise ValueError(ignored[0])
    return options


@contextlib.contextmanager
def _one_line() -> Iterator[None]:
    """Make one line of whatever yt-dlp says about its options. Each check of a value has its own type of error."""
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            yield
    except (Exception, SystemExit) as error:
        reason = [] if error.args in ((), (0,), (None,)) else str(error).strip().rpartition("error: ")[2].splitlines()
        reason = reason[0] if reason else "an option does something else than download"
        raise InputError(f"{OPTIONS}: {reason}; see yt-dlp --help") from error


def _all_options(parser: Any) -> Iterator[Any]:
    for group in (parser, *parser.option_groups):
        yield from group.option_list


def cookies() -> str:
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

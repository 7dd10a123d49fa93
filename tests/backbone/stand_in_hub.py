"""A stand-in for the Hugging Face hub on loopback: lists of files, access, and the files of folders."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest


class StandInHub(ThreadingHTTPServer):
    """Serves folders as repositories.

    Attributes:
        repositories: folder by `owner/name`.
        gated: repositories that the user may list and not read.
        failing: the status of every answer; None: answers.
        fetched: the files that were asked for, `owner/name/path`.
    """

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.repositories: dict[str, Path] = {}
        self.gated: set[str] = set()
        self.failing: int | None = None
        self.fetched: list[str] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        hub, parts = self.server, urlsplit(self.path).path.strip("/").split("/")
        is_api = parts[:2] == ["api", "models"]
        owner, name, *rest = parts[2:] if is_api else parts
        repository = f"{owner}/{name}"
        folder = hub.repositories.get(repository)
        if hub.failing:
            self._answer(hub.failing)
        elif folder is None:
            self._answer(404, {"X-Error-Code": "RepoNotFound"})
        elif is_api and rest == ["auth-check"]:
            self._answer(*((403, {"X-Error-Code": "GatedRepo"}) if repository in hub.gated else (200, {})))
        elif is_api and rest[0] == "revision":
            files = [{"rfilename": path, "size": size, "blobId": "0" * 40} for path, size in _sizes(folder)]
            about = {"id": repository, "sha": rest[1], "siblings": files, "gated": repository in hub.gated and "manual"}
            self._answer(200, {}, json.dumps(about).encode())
        elif is_api:
            files = [{"type": "file", "path": path, "size": size, "oid": "0" * 40} for path, size in _sizes(folder)]
            self._answer(200, {}, json.dumps(files).encode())
        else:
            path = "/".join(rest[2:])
            content = (folder / path).read_bytes()
            if self.command == "GET":
                hub.fetched.append(f"{repository}/{path}")
            etag = hashlib.sha256(content).hexdigest()
            self._answer(200, {"X-Repo-Commit": rest[1], "ETag": f'"{etag}"'}, content)

    do_HEAD = do_GET

    def _answer(self, status: int, headers: dict[str, str] | None = None, content: bytes = b"{}") -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def log_message(self, *arguments):
        pass


def _sizes(folder: Path) -> list[tuple[str, int]]:
    return [
        (path.relative_to(folder).as_posix(), path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    ]


@contextmanager
def serving(cache: Path) -> Iterator[StandInHub]:
    """A hub that huggingface_hub asks in the place of the real one, with its cache in a folder."""
    hub = StandInHub()
    thread = Thread(target=hub.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NO_PROXY", "127.0.0.1")
        for name, value in {
            "ENDPOINT": hub.address,
            "HUGGINGFACE_CO_URL_TEMPLATE": hub.address + "/{repo_id}/resolve/{revision}/{filename}",
            "HF_HUB_OFFLINE": False,
            "HF_HUB_CACHE": str(cache),
        }.items():
            patch.setattr(f"huggingface_hub.constants.{name}", value)
        yield hub
    hub.shutdown()
    thread.join()
    hub.server_close()

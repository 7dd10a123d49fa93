"""A model loads by its id on the hub, in a clean process elsewhere, against a stand-in of the hub on loopback."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
COMMIT = "a" * 40
FILES = {
    "model_index.json": b'{"_class_name": "RecipePipeline"}',
    "conditioner/config.json": b"{}",
    "unet/diffusion_pytorch_model.safetensors": b"weights",
    "unet/diffusion_pytorch_model.bin": b"a pickle",
}
CODE = """
import json, sys
from pathlib import Path
from recipevis.sampling.pipeline import RecipePipeline
folder = Path(RecipePipeline.download("owner/name", **json.loads(sys.argv[1])))
print(json.dumps({p.relative_to(folder).as_posix(): p.read_text() for p in folder.rglob("*") if p.is_file()}))
"""


class Hub(BaseHTTPRequestHandler):
    """Answers for the repository `owner/name`."""

    def do_HEAD(self):
        self._answer(with_body=False)

    def do_GET(self):
        self._answer(with_body=True)

    def _answer(self, with_body):
        path = self.path.partition("?")[0]
        name = path.partition(f"/resolve/{COMMIT}/")[2]
        if path.startswith("/api/models/owner/name/revision/"):
            self.server.revisions.append(path.rpartition("/")[2])
            siblings = [{"rfilename": name} for name in FILES]
            body = json.dumps({"id": "owner/name", "sha": COMMIT, "siblings": siblings}).encode()
        elif path.startswith("/api/models/owner/name/tree/"):
            entries = [{"type": "file", "path": n, "size": len(b), "oid": "0" * 40} for n, b in FILES.items()]
            body = json.dumps(entries).encode()
        elif name in FILES:
            body = FILES[name]
        else:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha1(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if with_body:
            self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.revisions = []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def _download(endpoint, where, **options):
    environment = {name: v for name, v in os.environ.items() if name not in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(where / "home"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", CODE, json.dumps(options)]
    done = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_downloads_what_the_pipeline_needs_and_finds_it_again_offline(hub, tmp_path):
    wanted = {name: body.decode() for name, body in FILES.items() if not name.endswith(".bin")}
    options = {"revision": "v1", "cache_dir": str(tmp_path / "cache"), "use_safetensors": True}
    assert _download(f"http://127.0.0.1:{hub.server_port}", tmp_path, **options) == wanted
    assert set(hub.revisions) == {"v1"}
    offline = options | {"local_files_only": True}
    assert _download("http://127.0.0.1:9", tmp_path, **offline) == wanted

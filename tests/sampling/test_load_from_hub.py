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

from recipevis.model.networks import Backbone
from recipevis.sampling.pipeline import assemble
from recipevis.training.trainer import new_conditioner

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
        stored = self.server.files
        if path == "/api/models/owner/name" or path.startswith("/api/models/owner/name/revision/"):
            self.server.revisions.append(path.rpartition("/")[2])
            siblings = [{"rfilename": name} for name in stored]
            body = json.dumps({"id": "owner/name", "sha": COMMIT, "siblings": siblings}).encode()
        elif path.startswith("/api/models/owner/name/tree/"):
            entries = [{"type": "file", "path": n, "size": len(b), "oid": "0" * 40} for n, b in stored.items()]
            body = json.dumps(entries).encode()
        elif name in stored:
            body = stored[name]
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


OURS = "from recipevis import RecipePipeline as Pipeline; options = {}"
DIFFUSERS = "from diffusers import DiffusionPipeline as Pipeline; options = {'trust_remote_code': True}"
DRAW = """
import hashlib, sys
import torch
pipeline = Pipeline.from_pretrained(sys.argv[1], **options)
image = pipeline("add oil", num_inference_steps=2, generator=torch.Generator().manual_seed(0)).images[0]
print(type(pipeline).__module__, type(pipeline.conditioner).__module__, hashlib.sha256(image.tobytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def model(tiny_backbone, tmp_path_factory):
    """A saved model of tiny untrained networks."""
    backbone, folder = Backbone(tiny_backbone), tmp_path_factory.mktemp("model")
    conditioner = new_conditioner(backbone, "attend_to_image", {"hidden": 4}, 3, seed=0)
    assemble(backbone, conditioner, backbone.unet, 32, "white", guidance_scale=1).save_pretrained(folder)
    return folder


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    server.revisions, server.files = [], FILES
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def _run(code, endpoint, where, *arguments):
    """The last line that code prints in a clean process."""
    environment = {name: v for name, v in os.environ.items() if name not in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(where / "home"), "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=where, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


def _download(endpoint, where, **options):
    return json.loads(_run(CODE, endpoint, where, json.dumps(options)))


@pytest.mark.slow
def test_downloads_what_the_pipeline_needs_and_finds_it_again_offline(hub, tmp_path):
    wanted = {name: body.decode() for name, body in FILES.items() if not name.endswith(".bin")}
    options = {"revision": "v1", "cache_dir": str(tmp_path / "cache"), "use_safetensors": True}
    assert _download(f"http://127.0.0.1:{hub.server_port}", tmp_path, **options) == wanted
    assert set(hub.revisions) == {"v1"}
    offline = options | {"local_files_only": True}
    assert _download("http://127.0.0.1:9", tmp_path, **offline) == wanted


@pytest.mark.slow
def test_our_class_and_diffusers_load_a_model_from_a_folder_and_from_the_hub(hub, model, tmp_path):
    hub.files = {path.relative_to(model).as_posix(): path.read_bytes() for path in model.rglob("*") if path.is_file()}
    endpoint = f"http://127.0.0.1:{hub.server_port}"
    loaded = {
        _run(first + DRAW, endpoint, tmp_path, place)
        for first in (OURS, DIFFUSERS)
        for place in (str(model), "owner/name")
    }
    assert len(loaded) == 1, loaded  # the same classes, the same image
    assert next(iter(loaded)).startswith("recipevis.sampling.pipeline recipevis.model.conditions ")


def test_our_class_runs_no_code_of_a_model(hub, model, tmp_path):
    hub.files = {path.relative_to(model).as_posix(): path.read_bytes() for path in model.rglob("*") if path.is_file()}
    hub.files |= {name: b"raise SystemExit(7)" for name in hub.files if name.endswith(".py")}
    _run(OURS + DRAW, f"http://127.0.0.1:{hub.server_port}", tmp_path, "owner/name")

"""`recipevis app`: a page on which to try the model."""

import errno
import socket
from typing import Annotated

import typer

from recipevis.cli.model import MODEL, ModelFolder, SafetyCheckerFolder, check_model, safety_check
from recipevis.errors import InputError, install


def app(
    model: ModelFolder = MODEL,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 also serves other machines.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on; 0: any free one.", min=0, max=65535)] = 7860,
    safety_checker: SafetyCheckerFolder = None,
    device: Annotated[str, typer.Option(help="auto, cpu, mps, cuda or cuda:<number>.")] = "auto",
) -> None:
    """Serve a page on which to draw recipes, until Ctrl-C."""
    try:
        import nicegui  # noqa: F401
    except ImportError as error:
        raise InputError(f"the page needs NiceGUI: {install('app')}") from error
    check_model(model)
    with _listen(host, port) as listening:
        print("loading the model", flush=True)
        from recipevis.cli.web.page import serve
        from recipevis.cli.web.studio import Studio
        from recipevis.core import devices
        from recipevis.data.vocabulary import Vocabulary
        from recipevis.sampling.pipeline import load_pipeline
        from recipevis.sampling.sampler import Sampler

        vocabulary = Vocabulary.load(model / "tokenizer")
        pipeline = load_pipeline(model, devices.device(device))
        check = safety_check(safety_checker, pipeline)
        studio = Studio(Sampler(pipeline, seed=0), vocabulary, check)
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # a browser opens no address that stands for all
        shown = f"[{host}]" if ":" in host else host
        serve(studio, listening, f"http://{shown}:{listening.getsockname()[1]}")


def _listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        InputError: the port is taken, or the host isn't an address of this machine.
    """
    try:
        return socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise InputError(f"--port {port}: is taken by another program; choose another") from error
        if error.errno == errno.EACCES:
            raise InputError(f"--port {port}: permission denied; choose one above 1023") from error
        raise InputError(f"--host {host}: can't listen there: {error.strerror or error}") from error
    except TypeError as error:  # of a name that can't be encoded
        raise InputError(f"--host {host}: can't listen there: it is no name of a host") from error

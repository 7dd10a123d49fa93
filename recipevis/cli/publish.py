"""`recipevis publish`: the model, its card and examples of what it draws, to the Hugging Face Hub."""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from recipevis.cli.model import MODEL, ModelFolder, check_model
from recipevis.errors import InputError

_CARD, _SAMPLES = Path("reports/model_card.md"), Path("samples")
_EXAMPLES = 3  # recipes
_LIMITS = "## Limits"  # the section of the card that the examples precede


def publish(
    repo: Annotated[str, typer.Argument(help="owner/name on the hub; it is made if it is missing.")],
    model: ModelFolder = MODEL,
    private: Annotated[bool, typer.Option("--private", help="A new repository is private.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the files; upload nothing.")] = False,
) -> None:
    """Upload the model with its card and some recipes that it drew. Frames of videos are never uploaded."""
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(repo)
    except HFValidationError as error:
        raise InputError(f"{repo}: {str(error).splitlines()[0]}") from error
    if "/" not in repo:
        raise InputError(f"{repo}: must be owner/name")
    contents = files(repo, model)
    for name, content in contents.items():
        size = len(content) if isinstance(content, bytes) else content.stat().st_size
        print(f"{size:>15,}  {name}")
    if dry_run:
        print(f"{repo}: nothing was uploaded")
        return
    _upload(repo, contents, private)
    print(f"https://huggingface.co/{repo}")


def files(repo: str, model: Path) -> dict[str, Path | bytes]:
    """What is uploaded, by its name in the repository.

    That is the model's folder and, if it is the project's own model and was evaluated, its scores in the card and the
    first recipes of the validation split as the model drew them: its own pictures alone, with their sentences.

    Args:
        repo: owner/name, which the card's example names.
        model: folder of the model.

    Raises:
        InputError: the folder is no model, its card has no licence, or the scores are another model's.
    """
    from huggingface_hub import ModelCard

    check_model(model)
    if not (model / "README.md").is_file():
        raise InputError(f"{model}: has no card, README.md; `dvc repro package` writes one")
    found: dict[str, Path | bytes] = {
        path.relative_to(model).as_posix(): path for path in sorted(model.rglob("*")) if path.is_file()
    }
    card = ModelCard.load(model / "README.md")
    is_scored = model.resolve() == MODEL.resolve() and _CARD.is_file()
    if is_scored:
        lines, card = card.text.splitlines(), ModelCard.load(_CARD)
        if not set(lines) <= set(card.text.splitlines()):
            raise InputError(f"{_CARD}: is the card of another model; `dvc repro` scores the one in {model}")
    if not card.data.license:
        raise InputError(f"{model / 'README.md'}: its metadata name no license; add one")
    examples = dict(_examples()) if is_scored else {}
    card.text = card.text.replace(json.dumps(MODEL.as_posix()), json.dumps(repo))
    if examples:
        shown = "\n\n".join(f"![{_escaped(sentence)}]({name})" for name, (sentence, _) in examples.items())
        card.text = card.text.replace(_LIMITS, f"## Examples\n\nDrawn autoregressively.\n\n{shown}\n\n{_LIMITS}")
    found |= {name: picture for name, (_, picture) in examples.items()}
    return found | {"README.md": f"{str(card).rstrip()}\n".encode()}


def _examples() -> Iterator[tuple[str, tuple[str, bytes]]]:
    """Storyboards of generated pictures: the name of each, its first sentence and its PNG."""
    import numpy as np
    from PIL import Image

    from recipevis.cli import storyboard
    from recipevis.data.tables.samples import AUTOREGRESSIVE, read_samples

    if not (_SAMPLES / "samples.csv").is_file():
        return
    for number, (_, steps) in enumerate(read_samples(_SAMPLES / "samples.csv").groupby("video_id", sort=False)):
        paths = [_SAMPLES / AUTOREGRESSIVE / f"{sample_id}.png" for sample_id in steps["sample_id"]]
        if number == _EXAMPLES or not all(path.is_file() for path in paths):
            return
        target, sentences = io.BytesIO(), steps["sentence"].tolist()
        storyboard.compose([np.asarray(Image.open(path)) for path in paths], sentences).save(target, "png")
        yield f"examples/{number + 1}.png", (sentences[0], target.getvalue())


def _escaped(text: str) -> str:
    """A text whose signs mean nothing in Markdown."""
    return re.sub(r"([\\`*_\[\]<>&])", r"\\\1", text)


def _upload(repo: str, contents: dict[str, Path | bytes], private: bool) -> None:
    """Upload all files in one commit.

    Raises:
        InputError: there is no token, no network, or the hub refuses.
    """
    import httpx
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    added = [CommitOperationAdd(name, content) for name, content in contents.items()]
    try:
        api = HfApi(token=True)  # the token that `hf auth login` saved, or HF_TOKEN
        api.create_repo(repo, private=private or None, exist_ok=True)
        api.create_commit(repo, added, commit_message="Upload the model")
    except LocalTokenNotFoundError as error:
        raise InputError(f"{repo}: there is no token; `hf auth login` saves one, or set HF_TOKEN") from error
    except (HfHubHTTPError, httpx.HTTPError, OSError) as error:
        raise InputError(f"{repo}: can't be uploaded: {' '.join(str(error).split())}") from error

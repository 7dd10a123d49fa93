"""`recipevis publish`: what goes to the hub, and what a refusal says."""

import httpx
import numpy as np
import pandas as pd
import pytest
from huggingface_hub import CommitOperationAdd, HfApi, ModelCard
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError
from markdown_it import MarkdownIt
from PIL import Image
from typer.testing import CliRunner

from recipevis.cli import app
from recipevis.data.tables.samples import COLUMNS

SCORED = "## Scores\n\nGood.\n\n## Limits"
CARD = '---\nlicense: apache-2.0\n---\n# A model\n\nfrom_pretrained("models/recipevis")\n\n## Limits\n\nMany.\n'


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project with a model, and two recipes of two steps that it drew beside frames of a video."""
    monkeypatch.chdir(tmp_path)
    for name, content in {"model_index.json": "{}", "README.md": CARD, "unet/model.safetensors": "weights"}.items():
        path = tmp_path / "models/recipevis" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/model_card.md").write_text(CARD.replace("## Limits", SCORED))
    rows = []
    for video in ("a", "b"):
        for step in range(2):
            name, frame = f"{video}_{step:02d}", f"data/frames/{video}_{step:02d}.png"
            for path in (f"samples/autoregressive/{name}.png", frame):
                (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(np.full((64, 64, 3), 255 * path.startswith("data"), np.uint8)).save(path)
            rows.append((name, "soup", video, step, f"add {video}", frame, "", "", 1, 1))
    pd.DataFrame(rows, columns=COLUMNS).to_csv("samples/samples.csv", index=False)
    return tmp_path


@pytest.fixture
def hub(monkeypatch):
    """What the hub was asked for."""
    asked = {}
    monkeypatch.setattr(HfApi, "create_repo", lambda self, repo, **options: asked.update(repo=repo, **options))
    monkeypatch.setattr(HfApi, "create_commit", lambda self, repo, added, **_: asked.update(to=repo, added=added))
    return asked


def publish(*arguments):
    return CliRunner().invoke(app, ["publish", *arguments])


def test_the_model_its_card_and_its_own_pictures_go(project, hub):
    result = publish("me/soup", "--private")
    assert result.exit_code == 0, result.output
    assert (hub["repo"], hub["to"], hub["private"], hub["exist_ok"]) == ("me/soup", "me/soup", True, True)
    sent = {one.path_in_repo: one.path_or_fileobj for one in hub["added"]}
    assert all(isinstance(one, CommitOperationAdd) for one in hub["added"])
    assert set(sent) == {
        "model_index.json",
        "README.md",
        "unet/model.safetensors",
        "examples/1.png",
        "examples/2.png",
    }
    card = ModelCard(sent["README.md"].decode())
    assert card.data.license == "apache-2.0"
    assert 'from_pretrained("me/soup")' in card.text
    assert "(examples/2.png)" in card.text
    assert all(name in result.output for name in sent)


def test_the_signs_of_a_sentence_mean_nothing_in_the_card(project, hub):
    table = pd.read_csv("samples/samples.csv", keep_default_na=False)
    table["sentence"] = "add [2] *cups*](x.png) & <b>"
    table.to_csv("samples/samples.csv", index=False)
    publish("me/soup")
    sent = {one.path_in_repo: one.path_or_fileobj for one in hub["added"]}
    parsed = MarkdownIt("commonmark").parse(ModelCard(sent["README.md"].decode()).text)
    images = [child for token in parsed for child in token.children or () if child.type == "image"]
    assert [(image.attrs["src"], image.content) for image in images] == [
        (f"examples/{number}.png", r"add \[2\] \*cups\*\](x.png) \& \<b\>") for number in (1, 2)
    ]
    assert ["".join(part.content for part in image.children) for image in images] == [table["sentence"][0]] * 2


def test_the_card_with_scores_is_preferred_for_the_projects_own_model(project, hub):
    publish("me/soup")
    sent = {one.path_in_repo: one.path_or_fileobj for one in hub["added"]}
    assert b"## Scores" in sent["README.md"]


def test_scores_of_another_model_are_refused(project, hub):
    (project / "models/recipevis/README.md").write_text(CARD.replace("# A model", "# Trained anew"))
    result = publish("me/soup")
    assert result.exit_code == 2
    assert "model_card.md" in result.stderr
    assert not hub


def test_a_model_that_was_not_evaluated_goes_without_pictures(project, hub):
    (project / "reports/model_card.md").unlink()
    assert publish("me/soup").exit_code == 0
    sent = {one.path_in_repo for one in hub["added"]}
    assert "README.md" in sent
    assert not {name for name in sent if name.startswith("examples/")}


def test_another_model_goes_without_the_projects_pictures(project, hub):
    (project / "models/recipevis").rename(project / "elsewhere")
    publish("me/soup", "--model", "elsewhere")
    assert not [one for one in hub["added"] if one.path_in_repo.startswith("examples/")]


def test_a_dry_run_lists_and_asks_nobody(project, hub):
    result = publish("me/soup", "--dry-run")
    assert result.exit_code == 0
    assert "unet/model.safetensors" in result.output
    assert hub == {}


@pytest.mark.parametrize(
    "error",
    [
        LocalTokenNotFoundError("no token"),
        httpx.ConnectError("no network"),
        HfHubHTTPError(
            "403 Forbidden\nyou may not", response=httpx.Response(403, request=httpx.Request("POST", "http://h"))
        ),
    ],
)
def test_a_refusal_is_one_line(project, hub, monkeypatch, error):
    def refuse(*_, **__):
        raise error

    monkeypatch.setattr(HfApi, "create_repo", refuse)
    result = publish("me/soup")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert "me/soup" in result.stderr


@pytest.mark.parametrize("repo", ["soup", "a/b/c", "me/so up", "-me/soup"])
def test_a_wrong_name_is_one_line(project, hub, repo):
    result = publish("--", repo)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize("missing", ["README.md", "model_index.json"])
def test_no_model_is_one_line(project, hub, missing):
    (project / "models/recipevis" / missing).unlink()
    result = publish("me/soup")
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1


def test_a_card_without_a_licence_is_refused(project, hub):
    (project / "models/recipevis/README.md").write_text("# A model\n")
    (project / "reports/model_card.md").unlink()
    result = publish("me/soup")
    assert result.exit_code == 2
    assert "license" in result.stderr

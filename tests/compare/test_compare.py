"""`recipevis compare`: what it reads, what the page shows, what it refuses."""

import base64
import html.parser
import io
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image
from scipy.stats import t
from typer.testing import CliRunner

from recipevis.cli.main import app
from recipevis.compare.experiments import read_all
from recipevis.compare.page import page
from recipevis.errors import InputError, ParameterError
from tests.compare import fabricated
from tests.compare.fabricated import STEPS, VIDEOS, offset, psnr


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, text=True).stdout.strip()


def commit(message: str) -> str:
    git("add", "--all")
    git("commit", "-q", "-m", message)
    return git("rev-parse", "HEAD")


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project at the tag `first`, off by 5; an experiment `better`, off by 3; in the workspace, off by 9."""
    folder = tmp_path / "project"
    folder.mkdir()
    monkeypatch.chdir(folder)
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "test")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "test@test")
    git("init", "-q")
    subprocess.run([sys.executable, "-m", "dvc", "init", "-q"], check=True)
    fabricated.write(folder, 5)
    first = commit("first")
    git("tag", "first")
    fabricated.write(folder, 3)
    git("update-ref", f"refs/exps/{first[:2]}/{first[2:]}/better", commit("better"))
    git("reset", "-q", "--hard", first)
    fabricated.write(folder, 9)
    return folder


class Page(html.parser.HTMLParser):
    """The page's tables as lists of rows of texts, its pictures, and what it loads."""

    def __init__(self, text: str):
        super().__init__()
        self.tables, self.pictures, self.loads, self.cell = [], [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.loads += [attributes[name] for name in ("src", "href") if name in attributes]
        if tag == "img":
            self.pictures.append(attributes)
        elif tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.cell = True

    def handle_endtag(self, tag):
        self.cell &= tag not in ("td", "th")

    def handle_data(self, data):
        if self.cell:
            self.tables[-1][-1][-1] += f" {data.strip()}"
            self.tables[-1][-1][-1] = self.tables[-1][-1][-1].strip()


def level(uri: str) -> float:
    """The grey level of a plain picture."""
    return float(np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1])))).mean())


def test_scores_and_their_paired_differences(project):
    shown = Page(page(read_all(["first", "better", "workspace"]), 0))
    assert shown.tables[0] == [
        ["", "first", "better", "workspace"],
        ["model", *3 * ["concat"]],
        ["sample.steps", *"539"],
    ]
    scores = shown.tables[1]
    assert [row[0] for row in scores[1:]] == ["first", "better", "minus first", "workspace", "minus first"]
    means = {
        name: np.mean([psnr(base + video) for video in range(VIDEOS)]) for name, base in (("first", 5), ("better", 3))
    }
    assert scores[1][1].startswith(f"{means['first']:.2f} ")
    assert scores[2][1].startswith(f"{means['better']:.2f} ")
    # Independent of the code: a t-interval of the differences of videos, since all have as many images.
    apart = np.array([psnr(3 + video) - psnr(5 + video) for video in range(VIDEOS)])
    half = t.ppf(0.975, VIDEOS - 1) * apart.std(ddof=1) / VIDEOS**0.5
    assert scores[3][1] == f"{apart.mean():+.2f} {apart.mean() - half:+.2f} to {apart.mean() + half:+.2f}"
    assert scores[3][2].startswith("-22.00 "), "the mean of (3 + v)² - (5 + v)² for v from 0 to 3"


def test_differences_are_coloured_by_their_interval_and_the_metrics_direction(project):
    source = page(read_all(["first", "better", "workspace"]), 0)
    states = re.findall(r'<td><span class="(\w*)">([+-][\d.]+)</span>', source)
    assert {state for state, value in states if value == "-22.00"} == {"better"}
    assert {state for state, value in states if value == "+68.00"} == {"worse"}
    same = page([*read_all(["first", "better"])[:1]] * 2, 0)
    assert set(re.findall(r'<td><span class="(\w*)">', same)) == {""}


def test_the_same_recipes_stand_below_each_other_the_most_different_first(project):
    shown = Page(page(read_all(["first", "better"]), 2))
    assert len(shown.pictures) == 2 * STEPS * 3
    pictures = iter(shown.pictures)
    for video in (0, 1):  # a difference of two levels is larger where the offset is small
        for step in range(STEPS):
            truth = 20 * (video + 1) + step
            expected = [("ground truth", truth), ("first", truth + 5 + video), ("better", truth + 3 + video)]
            for (name, grey), picture in zip(expected, pictures, strict=False):
                assert picture["alt"] == f"{name}, step {step + 1}: stir & <b>{step}</b>"
                assert level(picture["src"]) == pytest.approx(grey, abs=1)
    source = page(read_all(["first", "better"]), 4)
    ranges = [float(value) for value in re.findall(r'<section class="recipe"[^>]* data-psnr="([\d.]+)"', source)]
    assert ranges == pytest.approx([psnr(3 + video) - psnr(5 + video) for video in range(VIDEOS)], rel=1e-4)
    assert f'<b data-psnr="{psnr(offset("autoregressive", 5, 0)):.2f} dB" data-clip_l2="25.00">' in source


def test_the_page_needs_nothing_else_and_escapes(project):
    source = page(read_all(["first", "better"]), 4)
    loads = Page(source).loads
    assert {load.partition(",")[0] for load in loads if load[0] != "#"} == {"data:image/jpeg;base64"}
    assert not re.search(r"https?:|@import|url\(", source)
    assert "<type" not in source


def test_the_command_writes_the_page(project):
    result = CliRunner().invoke(app, ["compare", "first", "workspace", "--out", "made/page.html", "--recipes", "1"])
    assert result.exit_code == 0, result.output
    assert len(Page((project / "made/page.html").read_text(encoding="utf-8")).pictures) == STEPS * 3


def test_a_page_that_cannot_be_written_is_one_line(project):
    result = CliRunner().invoke(app, ["compare", "first", "better", "--out", "params.yaml/page.html"])
    assert result.exit_code == 2
    assert result.stderr.startswith("compare: params.yaml/page.html: can't be written: ")
    assert result.stderr.count("\n") == 1


def test_what_cannot_be_compared_is_refused_in_one_line(project):
    shutil.rmtree("samples")
    for names in (["first"], ["first", "first"], ["first", "nonsense"], ["first", "workspace"], ["--", "first", "-x"]):
        result = CliRunner().invoke(app, ["compare", *names])
        assert result.exit_code == 2
        assert result.stderr.startswith("compare: ")
        assert len(result.stderr.splitlines()) == 1
    assert not (project / "compare.html").exists()
    with pytest.raises(ParameterError):
        read_all(["first"])


def test_experiments_of_other_videos_are_refused_by_name(project):
    fabricated.write(project, 9, data_hash="other")
    with pytest.raises(InputError, match=r"workspace.*first"):
        read_all(["first", "better", "workspace"])


def test_experiments_of_other_frames_are_refused_and_other_judges_are_named(project):
    path = project / "params.yaml"
    before = path.read_text()
    path.write_text(before + "backbone: {source: hub}\n")
    assert len(re.findall("<p><b>Scores by the CLIP ", page(read_all(["first", "workspace"]), 0))) == 1
    assert "<p><b>Scores by" not in page(read_all(["first", "better"]), 0)
    path.write_text(before + "frames: {pixels: 32}\n")
    with pytest.raises(InputError, match=r"workspace.*frames\.pixels"):
        read_all(["first", "workspace"])


@pytest.mark.skipif(not shutil.which("chromium"), reason="needs Chromium")
def test_the_scripts_sort_filter_and_fill_the_slider(project, tmp_path):
    """In a browser, with what a reader chooses done by a script at the end of the page."""
    chosen = {".arrange [name=score]": "clip_l2", ".arrange [name=type]": "<type 1>"}
    chosen |= {".slider [name=recipe]": "1", ".slider [name=left]": "0"}
    script = "".join(
        f"{{ const e = document.querySelector({key!r}); e.value = {value!r};"
        "e.dispatchEvent(new Event('change', {bubbles: true})); }"
        for key, value in chosen.items()
    )
    path = tmp_path / "page.html"
    source = page(read_all(["first", "better"]), VIDEOS).replace("</body>", f"<script>{script}</script></body>")
    path.write_text(source, encoding="utf-8")
    command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'chromium'}"]
    dom = subprocess.run([*command, "--dump-dom", path.as_uri()], check=True, capture_output=True, text=True).stdout
    recipes = re.findall(r'<section class="recipe"([^>]*)>', dom)
    ranges = [float(re.search(r'data-clip_l2="([\d.]+)"', one).group(1)) for one in recipes]
    assert ranges == [28, 24, 20, 16], "by PSNR, it is the other way round"
    is_shown = {(" hidden" not in one, "type 1" in one) for one in recipes}
    assert is_shown == {(True, True), (False, False)}
    pairs = re.findall(r'<div class="pair">(<img.*?)</div>', dom)
    assert len(pairs) == STEPS
    for step, pair in enumerate(pairs):
        truth, better = (level(uri) for uri in re.findall(r'src="([^"]+)"', pair))
        assert truth == pytest.approx(20 * 2 + step, abs=1)
        assert better == pytest.approx(20 * 2 + step + 3 + 1, abs=1)
    captions = re.findall(r'<b data-psnr="[^"]*" data-clip_l2="([^"]*)">([^<]*)</b>', dom)
    assert captions
    assert all(distance == text for distance, text in captions), "the chosen score"


def test_outputs_that_are_not_in_the_cache_are_named_with_the_command_that_fetches_them(project):
    for name in ("scores/model", "samples/autoregressive"):
        git("rm", "-q", "-r", "--cached", name)
    subprocess.run([sys.executable, "-m", "dvc", "add", "-q", "scores/model", "samples/autoregressive"], check=True)
    commit("cached")
    assert read_all(["HEAD", "first"])[0].scores.table.psnr.max() == pytest.approx(psnr(8))
    start = git("rev-parse", "first")
    git("update-ref", f"refs/exps/{start[:2]}/{start[2:]}/cached", "HEAD")
    shutil.rmtree(".dvc/cache")
    with pytest.raises(InputError, match=r"cached: scores/model/images.csv .*dvc exp pull REMOTE cached"):
        read_all(["first", "cached"])
    with pytest.raises(InputError, match=r"HEAD: scores/model/images.csv .*dvc fetch"):
        read_all(["first", "HEAD"])

import io
import re
import sys

import pytest

from recipevis.core import progress
from recipevis.core.progress import meter, track


@pytest.fixture
def clock(monkeypatch):
    """A clock that the test sets, in seconds."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_plain_lines_where_there_is_no_terminal(capsys, clock):
    with meter("frames", 40) as counted:
        for _ in range(40):
            clock[0] += 1
            counted.advance()
    lines = capsys.readouterr().out.splitlines()
    assert lines == [
        "frames: 10/40, 1.0/s, 30 s left",
        "frames: 20/40, 1.0/s, 20 s left",
        "frames: 30/40, 1.0/s, 10 s left",
        "frames: 40/40, 1.0/s",
    ]


def test_a_resumed_loop_counts_what_was_done_but_not_in_its_rate(capsys, clock):
    with meter("train", 100, done=80) as counted:
        clock[0] += 10
        counted.advance(5, note="loss 0.5")
    assert capsys.readouterr().out == "train: 85/100, 0.5/s, 30 s left, loss 0.5\n"


def test_a_note_stays_until_the_next(capsys, clock):
    with meter("train", 2) as counted:
        counted.advance(note="loss 0.5")
        counted.advance()
    assert capsys.readouterr().out.endswith("loss 0.5\n")


def test_hours_are_told_as_hours(capsys, clock):
    with meter("download", 1790) as counted:
        clock[0] += 12
        counted.advance()
    assert "5:57:48 left" in capsys.readouterr().out


def test_a_tally_counts_each_class_and_names_the_file(capsys):
    ended = [("ok", "")] * 1200 + [("failed", "private")] * 3 + [("failed", "network")] * 20 + [("ok", "short")]
    progress.tally("videos", ended, "data/videos.csv")
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[-5:] == [
        ["ok", "1,200"],
        ["ok", "short", "1"],
        ["failed", "network", "20"],
        ["failed", "private", "3"],
        ["rows:", "data/videos.csv"],
    ]


def test_a_tally_of_counts_leaves_out_what_there_is_none_of(capsys):
    progress.tally("triplets", {("ok", "training"): 3, ("ok", "validation"): 0, ("dropped", "past_end"): 1000}, "t.csv")
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip()]
    assert lines[-3:] == [["ok", "training", "3"], ["dropped", "past_end", "1,000"], ["rows:", "t.csv"]]


def test_a_tally_without_classes_has_no_column_for_them(capsys):
    progress.tally("videos", [("ok", "")] * 130, "data/videos.csv")
    lines = [line.split() for line in capsys.readouterr().out.splitlines() if line.strip(" ─")]
    assert lines == [["videos"], ["status", "count"], ["ok", "130"], ["rows:", "data/videos.csv"]]


def test_messages_are_named_where_something_failed(capsys):
    for ended, named in ([("ok", "")], False), ([("ok", ""), ("failed", "network")], True):
        progress.tally("videos", ended, "data/videos.csv", "logs/download.csv")
        assert ("messages: logs/download.csv" in capsys.readouterr().out) == named


def test_track_yields_every_item_and_counts_it_when_it_is_done(capsys):
    seen = []
    for item in track(iter("abc"), "letters", 3):
        seen.append(item)
        assert "3/3" not in capsys.readouterr().out
    assert seen == ["a", "b", "c"]
    assert "letters: 3/3" in capsys.readouterr().out


def test_nothing_to_do_is_no_error(capsys):
    assert list(track([], "nothing", 0)) == []


def test_a_bar_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with meter("train", 4, done=1) as counted:
        counted.advance(3, note="loss 0.25")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    assert "train" in shown
    assert "4/4" in shown
    assert "loss 0.25" in shown

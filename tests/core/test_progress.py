"""What a long loop prints, on a terminal and elsewhere, and the table at its end."""

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
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    return now


def test_a_line_every_ten_seconds_and_at_the_end(capsys, clock):
    with meter("frames", 45) as counted:
        for _ in range(45):
            clock[0] += 1
            counted.advance()
    lines = [
        re.findall(r"frames: (\d+)/45, ([\d.]+)/s, ([\d:]+)", line) for line in capsys.readouterr().out.splitlines()
    ]
    assert lines == [
        [("10", "1.00", "00:35")],
        [("20", "1.00", "00:25")],
        [("30", "1.00", "00:15")],
        [("40", "1.00", "00:05")],
        [("45", "1.00", "00:00")],
    ]


def test_a_resumed_loop_counts_what_was_done_but_not_in_its_rate(capsys, clock):
    with meter("train", 100, done=80) as counted:
        clock[0] += 10
        counted.advance(5, note="loss 0.5")
        line = capsys.readouterr().out
    for part in ("train: 85/100", "0.50/s", "00:30", "loss 0.5"):
        assert part in line


def test_a_note_stays_until_the_next(capsys, clock):
    with meter("train", 2) as counted:
        counted.advance(note="loss 0.5")
        counted.advance()
    assert capsys.readouterr().out.endswith("loss 0.5\n")


def test_hours_are_told_as_hours(capsys, clock):
    with meter("download", 1790) as counted:
        clock[0] += 12
        counted.advance()
        assert "5:57:48" in capsys.readouterr().out


def test_only_the_first_process_prints(capsys, clock, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with meter("train", 2) as counted:
        clock[0] += 12
        counted.advance(2, note="loss 0.5")
    assert capsys.readouterr() == ("", "")


def test_track_yields_every_item_and_counts_it_when_it_is_done(capsys):
    seen = []
    for item in track(iter("abc"), "letters", 3):
        seen.append(item)
        assert "3/3" not in capsys.readouterr().out
    assert seen == ["a", "b", "c"]
    assert "letters: 3/3" in capsys.readouterr().out


def test_nothing_to_do_is_no_error():
    assert list(track([], "nothing", 0)) == []


def test_a_bar_on_a_terminal(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr(sys, "stdout", terminal)
    with meter("train", 4, done=1) as counted:
        counted.advance(3, note="loss 0.25")
    for part in ("train", "4/4", "loss 0.25", "\r"):
        assert part in terminal.getvalue()


def rows(capsys) -> list[list[str]]:
    """The words of each printed line."""
    return [line.split() for line in capsys.readouterr().out.splitlines() if line.strip(" ─")]


def test_a_tally_counts_each_class_and_names_the_file(capsys):
    ended = [("ok", "")] * 1200 + [("failed", "private")] * 3 + [("failed", "network")] * 20 + [("ok", "short")]
    progress.tally("videos", ended, "data/videos.csv")
    assert rows(capsys)[-5:] == [
        ["ok", "1,200"],
        ["ok", "short", "1"],
        ["failed", "network", "20"],
        ["failed", "private", "3"],
        ["rows:", "data/videos.csv"],
    ]


def test_a_tally_of_counts_leaves_out_zeros(capsys):
    progress.tally("triplets", {("ok", "training"): 3, ("ok", "validation"): 0, ("dropped", "past_end"): 1000}, "t.csv")
    assert rows(capsys)[-3:] == [["ok", "training", "3"], ["dropped", "past_end", "1,000"], ["rows:", "t.csv"]]


def test_a_tally_without_classes_has_no_column_for_them(capsys):
    progress.tally("videos", [("ok", "")] * 130, "data/videos.csv")
    assert rows(capsys) == [["videos"], ["status", "count"], ["ok", "130"], ["rows:", "data/videos.csv"]]


def test_messages_are_named_if_something_failed(capsys):
    for ended, named in ([("ok", "")], False), ([("ok", ""), ("failed", "network")], True):
        progress.tally("videos", ended, "data/videos.csv", "logs/download.csv")
        assert ("logs/download.csv" in capsys.readouterr().out) == named

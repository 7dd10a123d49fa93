"""The packets of a video file: when each is shown, and where its decoding starts, without decoding."""

from bisect import bisect_right
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
from av.container.core import Flags as OpenFlags
from av.format import Flags as FormatFlags


class VideoError(Exception):
    """A file of no use. `reason` is a key of `tables.frames.ERRORS`; the message doesn't name the file."""

    def __init__(self, reason: str, message: str):
        super().__init__(message)
        self.reason = reason


class Packet(NamedTuple):
    """A shown packet: its time in the stream's units, and where to start decoding for it."""

    pts: int
    place: int  # position in the file, which is the decoding order
    key: int  # place of the key frame where its decoding starts
    key_dts: int


class _Key(NamedTuple):
    """A key frame's packet: its position in the file, its decoding and its presentation time in the stream's units."""

    place: int
    dts: int
    pts: int


class Index:
    """Every packet of a file's video stream, read without decoding.

    The header's duration, frame rate and frame count may be wrong or missing, so they are not used.

    Attributes:
        places: the number of packets; in a file that `restarts`, of those before the restart.
        pts: presentation times by place, in the stream's units; meaningful if `timed`.
        restarts: the timestamps start again in the middle of the file, as in two files joined into one. The second part
            is left out, because its times are unknown, and seeking is not safe, because it may end there.
        timed: the packets say when each frame is shown and where decoding can start. AVI, for example, has decoding
            times only, and a raw stream has none: then only a decoder knows the order.
        stamps: the times of its frames that can be relied on, the better first: `pts`, `dts`, both or none.
        suspect: presentation times never go back, in a stream that may show frames in another order than it decodes
            them: they may be decoding times.
        shown, start, end: if `timed`, what is shown, by time, and for how long, in the stream's units.
    """

    def __init__(self, container: av.container.InputContainer, stream: av.VideoStream):
        self.pts: list[int] = []
        self.shown: list[Packet] = []
        self._early: list[Packet] = []  # shown before the first key frame although they come after it
        self._durations: dict[int, int] = {}
        self.restarts, self.timed = False, True
        keys, paced, ascends = self._read(container, stream)
        self.places = len(self.pts)
        if not self.places:
            raise VideoError("no_video_stream", "its video stream has no frame")
        self.timed &= bool(keys)
        # Where a container has no times, libavformat guesses some. Where some packets have no decoding time, those of
        # others don't tell when the frame is shown that the decoder gives at that moment.
        counted = container.format.flags & FormatFlags.no_timestamps.value
        self.stamps = () if counted else ("pts", "dts") if paced else ("pts",)
        self.suspect = self.timed and ascends and stream.codec_context.has_b_frames
        if self.timed:
            if not self.shown:
                raise VideoError("no_video_stream", "its video stream has no frame")
            # The place of the first key frame, unless it is hidden: then it was no part of a cut.
            self.first_key = keys[0].place if self.shown[0].place == keys[0].place else None
            self.begin(keys[0].pts)

    def _read(self, container: av.container.InputContainer, stream: av.VideoStream) -> tuple[list[_Key], bool, bool]:
        """Read the packets, up to a restart.

        Returns:
            the key frames; whether each packet has a decoding time; whether presentation times never go back.
        """
        keys: list[_Key] = []
        reached, paced, ascends = None, True, True
        # Without decoding times in the container, libavformat's guesses may step back a little within a group.
        slack = int(1 / stream.time_base)
        for packet in container.demux(stream):
            pts, dts, is_key = packet.pts, packet.dts, starts_group(packet, stream, first=not keys)
            if dts is None and not packet.size:  # the end of the stream
                continue
            paced &= dts is not None
            if dts is not None:
                if reached is not None and dts < reached - (0 if is_key else slack):
                    self.restarts = True
                    break
                reached = dts
            place = len(self.pts)
            self.pts.append(pts)
            if pts is None:
                self.timed = False
                continue
            ascends &= place == 0 or self.pts[-2] is None or pts >= self.pts[-2]
            if is_key:
                keys.append(_Key(place, pts if dts is None else dts, pts))
            # Packets before the first key frame can't be decoded; an edit list may hide packets.
            if not keys or packet.is_discard:
                continue
            # A packet after a key frame that is shown before it may depend on the group before, too.
            start = keys[-2 if len(keys) > 1 and pts < keys[-1].pts else -1]
            (self._early if pts < keys[0].pts else self.shown).append(Packet(pts, place, start.place, start.dts))
            self._durations[pts] = packet.duration or 0
        return keys, paced, ascends

    @property
    def early(self) -> bool:
        """Whether any packet is shown before the first key frame. Only a decoder knows whether it can be decoded."""
        return bool(self._early)

    def begin(self, pts: int) -> None:
        """Leave out what is shown before a time."""
        self.shown = sorted(packet for packet in self._early + self.shown if packet.pts >= pts)
        self._times = [packet.pts for packet in self.shown]
        last = self.shown[-1].pts
        gap = last - self.shown[-2].pts if len(self.shown) > 1 else 1
        self.start, self.end = self.shown[0].pts, last + (self._durations[last] or gap)

    def at(self, pts: Fraction) -> Packet:
        """The last packet shown at or before a time."""
        return self.shown[bisect_right(self._times, pts) - 1]


def starts_group(packet: av.Packet, stream: av.VideoStream, first: bool) -> bool:
    """Whether a packet holds a key frame.

    Args:
        packet: a packet of the stream.
        stream: the stream.
        first: no packet before it does. Then the container's own table counts, too: libavformat looks into the packet,
            and doesn't recognize a damaged key frame; but the file starts with it, and is not cut in the middle.
    """
    stamp = packet.pts if packet.dts is None else packet.dts
    if packet.is_keyframe or not first or stamp is None:
        return packet.is_keyframe
    at = stream.index_entries.search_timestamp(stamp)
    return at >= 0 and stream.index_entries[at].timestamp == stamp and stream.index_entries[at].is_keyframe


def open_video(path: Path) -> tuple[av.container.InputContainer, av.VideoStream]:
    """A file and its video stream, for a decoder of one thread.

    Raises:
        VideoError: the file can't be opened or has no video stream.
    """
    try:
        container = av.open(str(path), metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise VideoError("unreadable", reason(error)) from error
    if not container.streams.video:
        container.close()
        raise VideoError("no_video_stream", "it has no video stream")
    # PyAV asks for guesses where presentation times are missing; they are wrong where frames are reordered.
    container.flags &= ~OpenFlags.gen_pts.value
    stream = container.streams.best("video")  # the first may be a cover image
    stream.codec_context.thread_count = 1  # videos, not frames, are decoded in parallel
    return container, stream


def reason(error: Exception) -> str:
    """The error's message, without its number and path: the path is one within the store."""
    return f"it can't be read: {getattr(error, 'strerror', None) or error}"

"""Decode a video file from its first packet on, in showing order: slow, and right where seeking isn't."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

import av
from av.video.frame import PictureType

from recipevis.data.packets import open_video, starts_group

# Decoders that leave out a picture if what it depends on is not in the file; others show it grey or torn.
_HIDING = {"h264", "hevc", "mpeg1video", "mpeg2video"}
_TRIED = 100  # frames after which a stream whose times go forward is taken to be in order


class Played(NamedTuple):
    """A decoded frame. Times are in the stream's units, places are positions of packets in the file."""

    time: int
    end: int
    place: int
    key: int  # place of the key frame where its decoding starts
    frame: av.VideoFrame


class Playback:
    """The frames that a player shows, each with its time.

    Args:
        path: the file.
        places: decode so many packets.
        stamps: which times of the frames to use, the better first: `pts`; `dts`, the decoding time of the packet with
            which the decoder gave the frame. A frame without a time follows the last one.

    Attributes:
        faults: places of packets that could not be decoded without a fault, so far.
        start: time 0, known with the first frame. It is the first frame's time, or earlier if frames before it are
            damaged.
    """

    def __init__(self, path: Path, places: int, stamps: Sequence[str] = ("pts", "dts")):
        self._path, self._places, self._stamps = path, places, stamps
        self.faults: set[int] = set()
        self.start: int | None = None
        self._keys: list[int] = []  # places of the key frames
        self._given: set[int] = set()  # places of the frames that the decoder gave
        self._pts: list[int | None] = []  # presentation and decoding times, by place
        self._dts: list[int | None] = []

    def is_whole(self, played: Played) -> bool:
        """Whether nothing that a frame may depend on had a fault; sure once the next group has begun."""
        return not any(played.key <= fault <= played.place for fault in self.faults)

    def __iter__(self) -> Iterator[Played]:
        """Decode the file; once only."""
        container, stream = open_video(self._path)
        last: Played | None = None
        hides, fields = stream.codec_context.name in _HIDING, False
        with container:
            for place, frame in self._frames(container, stream):
                fields |= frame.interlaced_frame
                key = self._key(place, frame, hides)
                if key is None:
                    continue
                time = self._time(place, frame, last)
                if self.start is None and not self._begins(place, time):
                    continue
                length = self._length(frame, stream, time - last.time if last else 0)
                last = Played(time, time + length, place, key, frame)
                yield last
        if not self._stamps and hides and not fields:  # a packet may be one field, so half a frame
            self.faults |= self._lost()

    def _frames(
        self, container: av.container.InputContainer, stream: av.VideoStream
    ) -> Iterator[tuple[int, av.VideoFrame]]:
        """Every decoded frame in showing order, and the place of its packet."""
        for place, packet in enumerate(self._packets(container, stream)):
            if packet is not None:
                self._pts.append(packet.pts)
                self._dts.append(packet.dts)
                if starts_group(packet, stream, first=not self._keys):
                    self._keys.append(place)
                packet.pts = place  # the decoder hands it on to the frame, so it tells which packet a frame comes from
            try:
                frames = stream.codec_context.decode(packet)
            except av.FFmpegError:
                self.faults.add(place)
                continue
            for frame in frames:
                yield place if frame.pts is None else frame.pts, frame

    def _packets(self, container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.Packet | None]:
        """The packets, and None at last, which asks the decoder for the frames that it still has."""
        with suppress(av.FFmpegError):  # the rest can't be read
            yield from islice(container.demux(stream), self._places)
        yield None

    def _key(self, place: int, frame: av.VideoFrame, hides: bool) -> int | None:
        """Where the decoding of the next frame starts.

        Args:
            place: the place of its packet.
            frame: the frame.
            hides: whether the decoder leaves out frames that depend on something that is not in the file.

        Returns:
            the place of a key frame; None if the frame depends on something that is not in the file.
        """
        keys = self._keys
        if frame.is_corrupt:
            self.faults.add(place)
        at = bisect_right(keys, place)  # so many key frames are not after this one
        unmarked = at == 0 or keys[at - 1] != place
        intra = frame.key_frame or (at == 0 and frame.pict_type == PictureType.I)
        if unmarked and intra and (at == 0 or self.start is not None):
            keys.insert(at, place)
            at += 1
        if at == 0:
            return None
        self._given.add(place)
        leads = keys[at - 1] not in self._given  # it is shown before its key frame
        if leads and at == 1 and not hides:
            return None
        if not self._stamps:  # a fault may have removed frames, so the times of all later ones are unknown
            return keys[0]
        return keys[at - (2 if leads and at > 1 else 1)]  # a leading frame may depend on the group before, too

    def _lost(self) -> set[int]:
        """Places of packets that gave no frame; without those after the first key frame, which a cut may explain."""
        given = sorted(self._given)[1:]
        return set(range(given[0], given[-1])) - self._given if given else set()

    def _begins(self, place: int, time: int) -> bool:
        """Set time 0, if it can be known from this frame."""
        if not self._stamps or not any(self._keys[0] <= fault < place for fault in self.faults):
            self.start = time
        elif place in self._keys:
            # Decoding times tell how long the damaged frames last: those coded before the first whole key frame, and
            # those coded after it that are shown before it.
            first, latest = self._dts[self._keys[0]], self._dts[max(self._given)]
            self.start = time if first is None or latest is None else time - (latest - first)
        return self.start is not None

    def _time(self, place: int, frame: av.VideoFrame, last: Played | None) -> int:
        """When a frame is shown: its own time, if that goes forward, or the end of the last one."""
        times = {"pts": self._pts[place] if place < len(self._pts) else None, "dts": frame.dts}
        for time in (times[stamp] for stamp in self._stamps):
            if time is not None and (last is None or time > last.time):
                return time
        return last.end if last else 0

    def _length(self, frame: av.VideoFrame, stream: av.VideoStream, gap: int) -> int:
        """How long a frame is shown, in the stream's units, as far as that is known before the next.

        Args:
            frame: the frame.
            stream: its stream.
            gap: units from the last frame to this one, 0 if there is none.
        """
        if self._stamps and frame.duration > 1:
            return frame.duration
        if self._stamps and gap > 2:  # a duration of one unit is libavformat's guess where units are short
            return gap
        rate = stream.codec_context.framerate or stream.guessed_rate
        if not rate:
            return frame.duration or 1
        # Packets that were read before the rate was known have a wrong duration. Pulldown gives a frame three fields.
        fields = 2 * frame.duration * stream.time_base * rate
        right = fields >= 2 and abs(fields - round(fields)) < Fraction(1, 10)
        return frame.duration if right else max(1, round(1 / (rate * stream.time_base)))


def goes_back(path: Path) -> bool:
    """Whether the presentation times go back in showing order, so that they must be decoding times."""
    container, stream = open_video(path)
    with container:
        try:
            times = [frame.pts for frame in islice(container.decode(stream), _TRIED) if frame.pts is not None]
        except av.FFmpegError:  # the packets' own times are as good as any
            return False
    return any(later <= earlier for earlier, later in pairwise(times))

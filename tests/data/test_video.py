"""Frames through PyAV, against an independent full decode by the ffmpeg program."""

import subprocess

import numpy as np
import pytest
from PIL import Image, ImageOps

from recipevis.data import ffmpeg, video


def encode(path, *options: str, count=30, rate=5, height=48, width=64):
    """A test file of distinct pictures, encoded with ffmpeg's own options."""
    levels = np.arange(count)[:, None, None, None]
    y, x = np.mgrid[:height, :width]
    pictures = np.zeros((count, height, width, 3), np.uint8)
    pictures[..., :1] = 30 + levels * 6 % 200
    pictures[..., 1] = x * 3 % 256
    pictures[..., 2] = (y * 4 + 7 * np.arange(count)[:, None, None]) % 256
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", str(rate), "-i", "pipe:"]
    command = [ffmpeg.FFMPEG, "-y", "-loglevel", "error", *source, *options, str(path)]
    subprocess.run(command, input=pictures.tobytes(), check=True)
    return path


def check(path, times_s=None):
    """Every asked frame is the one that a full decode shows at that time."""
    shown, pictures = ffmpeg.read(path)
    if times_s is None:
        gaps = np.diff(shown, append=video.probe(path))
        times_s = [float(time) for time in np.concatenate([shown + gaps / 4, shown + gaps * 0.9])]
    for time, shot in zip(times_s, video.shots(path, times_s), strict=True):
        index = np.flatnonzero(shown <= time)[-1]
        expected = pictures[index]
        assert shot.error == ""
        assert np.array(shot.picture).shape == expected.shape
        near = pictures[max(0, index - 2) : index + 3].astype(int)
        distances = np.abs(near - np.array(shot.picture)).mean(axis=(1, 2, 3))
        assert distances[min(index, 2)] == distances.min() < 1.5


VP9 = ["-c:v", "libvpx-vp9", "-deadline", "realtime", "-cpu-used", "8"]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("b_frames.mp4", ["-c:v", "libx264", "-bf", "3", "-g", "12", "-pix_fmt", "yuv420p"]),
        ("key_frames.mp4", ["-c:v", "libx264", "-g", "1", "-pix_fmt", "yuv420p"]),
        ("open_groups.mp4", ["-c:v", "libx264", "-x264-params", "open-gop=1:keyint=10", "-pix_fmt", "yuv420p"]),
        ("matroska.mkv", ["-c:v", "libx264", "-bf", "2", "-g", "10", "-pix_fmt", "yuv420p"]),
        ("late.ts", ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-output_ts_offset", "50"]),
        ("vp9.webm", VP9),
        ("plain.avi", ["-c:v", "mpeg4", "-q:v", "2"]),
        ("flash.flv", ["-c:v", "libx264", "-bf", "0", "-pix_fmt", "yuv420p"]),
        ("moving.gif", []),
        ("hevc.mp4", ["-c:v", "libx265", "-x265-params", "keyint=10:log-level=none", "-pix_fmt", "yuv420p"]),
        ("ten_bit.mkv", ["-c:v", "libx265", "-x265-params", "keyint=10:log-level=none", "-pix_fmt", "yuv420p10le"]),
        ("alpha.webm", [*VP9, "-pix_fmt", "yuva420p", "-auto-alt-ref", "0"]),
        (
            "hidden.webm",
            ["-c:v", "libvpx-vp9", "-auto-alt-ref", "1", "-lag-in-frames", "16", "-cpu-used", "8", "-g", "20"],
        ),
        ("av1.mkv", ["-c:v", "libaom-av1", "-cpu-used", "8", "-g", "10", "-pix_fmt", "yuv420p"]),
        ("prores.mov", ["-c:v", "prores_ks", "-pix_fmt", "yuv422p10le"]),
        (
            "fragmented.mp4",
            ["-c:v", "libx264", "-g", "10", "-pix_fmt", "yuv420p", "-movflags", "frag_keyframe+empty_moov"],
        ),
        ("live.mkv", ["-c:v", "libx264", "-g", "10", "-pix_fmt", "yuv420p", "-f", "matroska", "-live", "1"]),
        ("interlaced.ts", ["-c:v", "libx264", "-x264-params", "interlaced=1", "-bf", "2", "-pix_fmt", "yuv444p"]),
        ("odd.mkv", ["-vf", "crop=63:47", "-c:v", "libx264", "-pix_fmt", "yuv444p"]),
        ("edited.mp4", ["-ss", "1.3", "-c:v", "libx264", "-bf", "3", "-g", "12", "-pix_fmt", "yuv420p"]),
        ("gaps.mp4", ["-vf", "select='not(mod(n,7))+eq(n,3)'", "-fps_mode", "vfr", "-c:v", "libx264"]),
    ],
)
def test_frames_are_those_of_a_full_decode(tmp_path, name, options):
    check(encode(tmp_path / name, *options))


ENCODERS = {
    "b_frames.mp4": "-c:v libx264 -bf 3 -g 50 -pix_fmt yuv420p",
    "pyramid.mkv": "-c:v libx264 -bf 6 -b_strategy 2 -x264-params b-pyramid=normal:ref=5 -g 50 -pix_fmt yuv420p",
    "strict.ts": "-c:v libx264 -bf 3 -x264-params b-pyramid=strict -g 20 -pix_fmt yuv420p -output_ts_offset 50",
    "open.mp4": "-c:v libx264 -bf 3 -x264-params open-gop=1:keyint=12:min-keyint=12 -pix_fmt yuv420p",
    "refresh.mp4": "-c:v libx264 -bf 0 -x264-params intra-refresh=1:keyint=12 -pix_fmt yuv420p",
    "no_b.flv": "-c:v libx264 -bf 0 -pix_fmt yuv420p",
    "ten_bit.mp4": "-c:v libx264 -bf 3 -pix_fmt yuv420p10le",
    "hevc.mp4": "-c:v libx265 -x265-params bframes=4:keyint=25:log-level=none -pix_fmt yuv420p",
    "hevc_open.mkv": "-c:v libx265 -x265-params bframes=3:open-gop=1:keyint=10:log-level=none -pix_fmt yuv420p10le",
    "interlaced.mp4": "-c:v libx264 -bf 3 -flags +ildct+ilme -x264-params interlaced=1 -pix_fmt yuv420p",
    "mpeg4.mp4": "-c:v mpeg4 -bf 2 -g 12 -q:v 3",
    "mpeg4.avi": "-c:v mpeg4 -bf 2 -g 12 -q:v 3",
    "mpeg2.ts": "-c:v mpeg2video -bf 2 -g 12 -q:v 3",
    "edited.mov": "-ss 0.9 -c:v libx264 -bf 3 -g 40 -pix_fmt yuv420p",
}


@pytest.mark.parametrize("name", ENCODERS)
def test_leaving_out_what_nothing_rests_on_changes_no_bit(tmp_path, monkeypatch, name):
    path = encode(tmp_path / name, *ENCODERS[name].split(), count=60, rate=10)
    times = [time / 10 + 0.01 for time in range(58) if time < 10 * video.probe(path) - 1]
    quick = [np.array(shot.picture) for shot in video.shots(path, times)]
    monkeypatch.setattr(video, "_SKIPPING", set())
    whole = [np.array(shot.picture) for shot in video.shots(path, times)]
    assert len(times) > 40
    assert all(np.array_equal(*pair) for pair in zip(quick, whole, strict=True))


def test_the_quick_way_is_the_one_taken(tmp_path, monkeypatch):
    path = encode(tmp_path / "a.mp4", *ENCODERS["b_frames.mp4"].split(), count=60)
    monkeypatch.setattr(video._Seeker, "_decode", lambda *arguments, **options: pytest.fail("decoded everything"))
    assert video.shots(path, [1.1, 5.3, 11.5])[2].picture is not None


def test_real_files(shared):
    for name in ("unordered.mov", "video_0.mov", "video_90.mov"):
        check(shared / "videos" / name)
    check(shared / "videos/flipping_a_pancake.mkv", [0.01, 1.51, 2.25, 6.08, 8.3, 8.34, 10.31])


def test_a_video_of_youcook2(shared):
    path = shared / "youcook2/videos/14w_h9VFtzU.mp4"
    check(path, [0.0, 0.5, 1.0, 30.25, 77.0, 100.5, 178.9])
    assert video.probe(path) == 179


TS = ["-c:v", "libx264", "-bf", "2", "-g", "10", "-pix_fmt", "yuv420p"]


@pytest.mark.parametrize("later", [[], ["-ss", "1.3"], ["-output_ts_offset", "3.1"]])
def test_two_files_joined_into_one_give_no_frame_of_the_second(tmp_path, later):
    first = encode(tmp_path / "first.ts", *TS)
    second = encode(tmp_path / "second.ts", *TS, "-vf", "negate", *later)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(first.read_bytes() + second.read_bytes())
    times = [number / 5 + 0.05 for number in range(30)]
    for alone, shot in zip(video.shots(first, times), video.shots(joined, times), strict=True):
        assert np.array_equal(np.array(alone.picture), np.array(shot.picture))
    assert [shot.error for shot in video.shots(joined, [6.1, 11])] == ["undecodable"] * 2
    assert video.probe(joined) == 6


def test_two_files_joined_one_after_the_other_are_one(tmp_path):
    parts = [encode(tmp_path / "0.ts", *TS), encode(tmp_path / "1.ts", *TS, "-output_ts_offset", "6.4")]
    (tmp_path / "joined.ts").write_bytes(b"".join(part.read_bytes() for part in parts))
    assert video.probe(tmp_path / "joined.ts") == pytest.approx(12)
    check(tmp_path / "joined.ts", [0.1, 3.1, 7.1, 11.1])


@pytest.mark.parametrize("codec", ["png", "mjpeg"])
def test_a_cover_that_comes_first_is_not_the_video(tmp_path, codec):
    plain = encode(tmp_path / "plain.mkv", "-c:v", "libx264", "-pix_fmt", "yuv420p")
    cover, covered = tmp_path / "cover.png", tmp_path / "covered.mkv"
    Image.new("RGB", (200, 200), "red").save(cover)
    command = [ffmpeg.FFMPEG, "-loglevel", "error", "-i", str(cover), "-i", str(plain), "-map", "0", "-map", "1"]
    options = ["-c", "copy", "-c:v:0", codec, "-disposition:v:0", "attached_pic"]
    subprocess.run([*command, *options, str(covered)], check=True)
    with video.av.open(str(covered)) as container:
        assert [stream.codec_context.name for stream in container.streams.video] == [codec, "h264"]
    assert video.probe(covered) == video.probe(plain) == 6
    for shots in zip(video.shots(covered, [0.1, 3.1]), video.shots(plain, [0.1, 3.1]), strict=True):
        assert np.array_equal(*(np.array(shot.picture) for shot in shots))


H264 = "-c:v libx264 -pix_fmt yuv420p -g 12"
HEVC = "-c:v libx265 -pix_fmt yuv420p -x265-params log-level=none:keyint=12:min-keyint=12:scenecut=0"


def ff(*words):
    subprocess.run([ffmpeg.FFMPEG, "-y", "-loglevel", "error", *map(str, words)], check=True)


def first_picture(path):
    return np.array(video.shots(path, [0])[0].picture)


# How to turn an upright picture, in ffmpeg's words and in numpy's.
ORIENTATIONS = [
    ("-display_rotation 0", lambda a: a),
    ("-display_hflip", lambda a: a[:, ::-1]),
    ("-display_rotation 180", lambda a: a[::-1, ::-1]),
    ("-display_vflip", lambda a: a[::-1]),
    ("-display_rotation 90 -display_vflip", lambda a: a.swapaxes(0, 1)),
    ("-display_rotation 270", lambda a: np.rot90(a, 3)),
    ("-display_rotation 90 -display_hflip", lambda a: np.rot90(a, 2).swapaxes(0, 1)),
    ("-display_rotation 90", np.rot90),
]


@pytest.mark.parametrize("container", ["mp4", "mov", "mkv"])
def test_a_display_matrix_turns_and_mirrors(tmp_path, container):
    plain = encode(tmp_path / "plain.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", count=3)
    upright, path = first_picture(plain), tmp_path / f"turned.{container}"
    for words, turned in ORIENTATIONS:
        ff(*words.split(), "-i", plain, "-c", "copy", path)
        check(path)
        assert np.array_equal(first_picture(path), turned(upright))


@pytest.mark.parametrize("container", ["avi", "mov", "mkv"])
def test_exif_turns_and_mirrors(tmp_path, container):
    y, x = np.mgrid[:48, :64]
    picture = Image.fromarray(np.stack([x * 3, y * 4, x + y], axis=-1).astype(np.uint8))
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        picture.save(tmp_path / "a.jpg", exif=exif, quality=95)
        path = tmp_path / f"{orientation}.{container}"
        ff("-framerate", "5", "-i", tmp_path / "a.jpg", "-c", "copy", path)
        check(path)
        with Image.open(tmp_path / "a.jpg") as saved:
            expected = np.array(ImageOps.exif_transpose(saved)).astype(int)
        assert np.abs(first_picture(path) - expected).mean() < 2


@pytest.mark.parametrize("name", ["a.ts", "a.mkv", "a.h264"])
def test_a_streams_own_orientation_turns_and_mirrors(tmp_path, name):
    """The stream says it once a group, in the key frame."""
    plain = encode(tmp_path / "plain.mp4", *H264.split(), "-bf", "2")
    times = [0.02, 1.02, 3.02, 5.02]
    upright = [np.array(shot.picture) for shot in video.shots(plain, times)]
    for words, turned in (("flip=horizontal", np.fliplr), ("flip=vertical", np.flipud), ("rotate=90", np.rot90)):
        orient = f"h264_mp4toannexb,h264_metadata=display_orientation=insert:{words}"
        ff("-i", plain, "-c", "copy", "-bsf:v", orient, tmp_path / name)
        for right, shot in zip(upright, video.shots(tmp_path / name, times), strict=True):
            assert np.array_equal(np.array(shot.picture), turned(right))


def test_an_odd_angle_turns_the_picture_within_its_size(tmp_path):
    plain = encode(tmp_path / "plain.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", count=3)
    ff("-display_rotation", "30", "-i", plain, "-c", "copy", tmp_path / "a.mp4")
    _, pictures = ffmpeg.read(tmp_path / "a.mp4")
    assert np.abs(first_picture(tmp_path / "a.mp4").astype(int) - pictures[0]).mean() < 4
    assert np.abs(first_picture(plain).astype(int) - pictures[0]).mean() > 15


def test_pixels_are_made_square_before_the_picture_is_turned(tmp_path):
    plain = encode(tmp_path / "a.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-vf", "setsar=2/1", count=2)
    ff("-display_rotation", "90", "-i", plain, "-c", "copy", tmp_path / "b.mp4")
    assert np.array_equal(first_picture(tmp_path / "b.mp4"), np.rot90(first_picture(plain)))
    assert video.shots(tmp_path / "b.mp4", [0])[0].picture.size == (48, 128)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("no_b.avi", f"{H264} -bf 0"),
        ("b.avi", f"{H264} -bf 1"),
        ("pyramid.avi", f"{H264} -bf 3 -x264-params b-pyramid=normal"),
        ("mpeg4.avi", "-c:v mpeg4 -bf 2 -g 12 -q:v 2"),
        ("xvid.avi", "-c:v mpeg4 -vtag XVID -bf 2 -g 12 -q:v 2"),
        ("gaps.avi", f"-vf select='not(mod(n,7))+eq(n,3)+gt(n,20)' -fps_mode vfr {H264} -bf 2"),
        ("a.asf", f"{H264} -bf 3"),
        ("mpeg2.mpg", "-c:v mpeg2video -bf 2 -g 12 -q:v 2"),
        ("a.vob", "-c:v mpeg2video -bf 2 -g 12 -q:v 2 -f vob"),
        ("a.h264", f"{H264} -bf 3"),
        ("a.hevc", f"{HEVC}:bframes=3"),
        ("a.m1v", "-c:v mpeg1video -bf 2 -g 12 -q:v 2"),
        ("a.m2v", "-c:v mpeg2video -bf 2 -g 12 -q:v 2"),
        ("a.m4v", "-c:v mpeg4 -bf 2 -g 12 -q:v 2 -f m4v"),
    ],
)
def test_without_times_of_showing_the_decoders_order_counts(tmp_path, name, options):
    rate = 25 if ".m" in name or name.endswith("vob") else 5
    path = encode(tmp_path / name, *options.split(), rate=rate)
    check(path)
    assert video.probe(path) == pytest.approx(30 / rate, abs=1e-3)


def test_packed_frames(shared):
    for name in ("h264.avi", "xvid_packed.avi"):
        check(shared / "cases/v_avi_b_frames" / name)


@pytest.mark.parametrize("container", ["mp4", "mkv", "flv", "ts"])
def test_decoding_times_in_the_place_of_times_of_showing(tmp_path, container):
    whole = encode(tmp_path / "a.mkv", *H264.split(), "-bf", "3", count=40)
    ff("-i", whole, "-c", "copy", "-bsf:v", "setts=pts=DTS+4/5/TB", tmp_path / f"b.{container}")
    times = [number / 5 + 0.02 for number in range(40)]
    pairs = zip(video.shots(whole, times), video.shots(tmp_path / f"b.{container}", times), strict=True)
    assert all(np.array_equal(*(np.array(shot.picture) for shot in pair)) for pair in pairs)
    assert video.probe(tmp_path / f"b.{container}") == pytest.approx(8, abs=1e-2)


@pytest.mark.parametrize("damage", [bytes, np.random.default_rng(0).bytes])
def test_times_after_damage_are_unknown_if_frames_are_counted(tmp_path, damage):
    path = encode(tmp_path / "a.h264", *H264.split(), "-bf", "2", count=40)
    whole = first_picture(path)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 300] = damage(300)
    path.write_bytes(content)
    first, last = video.shots(path, [0, 5.6])
    assert np.array_equal(np.array(first.picture), whole)
    assert last.error == "undecodable"


def places(path):
    """Where the packets of a file begin, and how long they are."""
    with video.av.open(str(path)) as container:
        return [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]


CUT = {
    "refresh": f"{H264} -bf 0 -x264-params intra-refresh=1:keyint=12:min-keyint=2",
    "open": f"{H264} -bf 3 -x264-params open-gop=1:keyint=12:min-keyint=12:scenecut=0:b-adapt=0",
    "hevc_open": f"{HEVC}:open-gop=1:bframes=3",
    "hevc_leading": f"{HEVC}:open-gop=0:radl=2:bframes=3",
    "mpeg2": "-c:v mpeg2video -q:v 2 -bf 2 -g 12 -sc_threshold 1000000000",
}


@pytest.mark.parametrize("cut", [5, 12, 13])
@pytest.mark.parametrize("name", CUT)
def test_a_stream_that_is_cut_in_the_middle_begins_with_the_first_whole_frame(tmp_path, name, cut):
    whole = encode(tmp_path / "a.ts", *CUT[name].split(), count=50)
    path = tmp_path / "b.ts"
    path.write_bytes(whole.read_bytes()[places(whole)[cut][0] :])
    copies = ["mp4", "mkv"] + ["avi", "flv"] * (name == "refresh")
    for container in copies:
        ff("-i", path, "-c", "copy", tmp_path / f"b.{container}")
    for container in ["ts", *copies]:
        check(tmp_path / f"b.{container}")


def test_a_refresh_without_a_key_frame(shared):
    check(shared / "cases/v_refresh_middle/refresh_middle.ts")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vp9.webm", "-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 12"),
        ("vp8.webm", "-c:v libvpx -deadline realtime -cpu-used 8 -g 12 -b:v 1M"),
        ("av1.mkv", "-c:v libaom-av1 -cpu-used 8 -g 12"),
        ("h264.avi", f"{H264} -bf 2"),
    ],
)
def test_frames_before_the_first_key_frame_are_left_out(tmp_path, name, options):
    whole = encode(tmp_path / f"whole_{name}", *options.split(), count=40)
    ff("-i", whole, "-c", "copy", "-bsf:v", "noise=drop='lt(n,5)'", tmp_path / name)
    check(tmp_path / name)


@pytest.mark.parametrize("container", ["mkv", "avi"])
def test_a_decoder_that_shows_torn_pictures_at_a_cut(tmp_path, container):
    """MPEG-4's gives grey pictures before the first key frame, and then two that depend on them."""
    options = "-c:v mpeg4 -q:v 2 -bf 2 -g 12 -sc_threshold 1000000000"
    whole = encode(tmp_path / f"whole.{container}", *options.split(), count=40)
    ff("-i", whole, "-c", "copy", "-bsf:v", "noise=drop='lt(n,5)'", tmp_path / f"cut.{container}")
    times = [number / 5 + 0.02 for number in range(28)]
    expected = video.shots(whole, [12 / 5 + time for time in times])
    for cut, shot in zip(video.shots(tmp_path / f"cut.{container}", times), expected, strict=True):
        assert np.array_equal(np.array(cut.picture), np.array(shot.picture))


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.avi", "a.nut"])
def test_damage_at_the_start_moves_nothing(tmp_path, name):
    path = encode(tmp_path / name, *H264.split(), "-sc_threshold", "0", "-bf", "2")
    times = [number / 5 + 0.02 for number in range(30)]
    whole = [np.array(shot.picture) for shot in video.shots(path, times)]
    content = bytearray(path.read_bytes())
    for start, length in places(path)[:12]:
        content[start + 4 : start + length] = np.random.default_rng(0).bytes(length - 4)
    path.write_bytes(content)
    shots = video.shots(path, times)
    assert video.probe(path) == 6
    assert [shot.error for shot in shots] == ["undecodable"] * 12 + [""] * 18
    assert all(
        np.array_equal(np.array(shot.picture), right) for shot, right in zip(shots[12:], whole[12:], strict=True)
    )


def test_a_stream_of_which_nothing_can_be_shown(tmp_path):
    options = f"{CUT['refresh']}:scenecut=0 -bsf:v filter_units=remove_types=6"  # nothing says where a refresh ends
    whole = encode(tmp_path / "a.ts", *options.split())
    path = tmp_path / "b.ts"
    path.write_bytes(whole.read_bytes()[places(whole)[5][0] :])
    assert [shot.error for shot in video.shots(path, [0, 2])] == ["undecodable"] * 2
    with pytest.raises(video.VideoError) as error:
        video.probe(path)
    assert error.value.reason == "undecodable"


@pytest.mark.parametrize(("transfer", "hdr"), [("smpte2084", True), ("arib-std-b67", True), ("bt2020-10", False)])
def test_high_dynamic_range_is_told(tmp_path, transfer, hdr):
    colours = f"log-level=none:colorprim=bt2020:transfer={transfer}:colormatrix=bt2020nc"
    path = encode(tmp_path / "a.mkv", "-c:v", "libx265", "-pix_fmt", "yuv420p10le", "-x265-params", colours, count=3)
    assert [shot.hdr for shot in video.shots(path, [0, 0.5, 9])] == [hdr, hdr, False]


@pytest.mark.parametrize(
    "options",
    [
        "-vf scale=out_color_matrix=bt709 -colorspace bt709 -c:v libx264 -pix_fmt yuv420p",
        "-vf scale=out_range=full:out_color_matrix=bt709 -color_range pc -colorspace bt709 -c:v libx264",
        "-c:v mjpeg -q:v 2 -pix_fmt yuvj420p",
    ],
)
def test_colours_follow_the_files_own_matrix_and_range(tmp_path, options):
    path = encode(tmp_path / "a.mkv", *options.split(), count=5)
    shown, pictures = ffmpeg.read(path)
    for shot, picture in zip(video.shots(path, list(shown + 0.01)), pictures, strict=True):
        assert np.array_equal(np.array(shot.picture), picture)


def test_interlaced_colours_are_taken_from_their_own_field(tmp_path):
    interlaced = "-vf scale=interl=1 -c:v libx264 -flags +ildct+ilme -x264-params interlaced=1 -pix_fmt yuv420p"
    path = encode(tmp_path / "a.mkv", *interlaced.split(), count=5)
    command = [ffmpeg.FFMPEG, "-loglevel", "error", "-i", str(path), "-vf", "scale=interl=1,format=rgb24"]
    whole = subprocess.run([*command, "-f", "rawvideo", "pipe:"], capture_output=True, check=True).stdout
    pictures = np.frombuffer(whole, np.uint8).reshape(-1, 48, 64, 3)
    shots = video.shots(path, [0.1, 0.5, 0.9])
    assert all(np.array_equal(np.array(shot.picture), pictures[at]) for shot, at in zip(shots, (0, 2, 4), strict=True))


def test_pixels_are_made_square(tmp_path):
    path = encode(tmp_path / "wide.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-vf", "setsar=2/1", count=2)
    assert video.shots(path, [0])[0].picture.size == (128, 48)


def test_a_single_frame(tmp_path):
    path = encode(tmp_path / "one.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", count=1)
    assert [shot.error for shot in video.shots(path, [0, 0.1, 0.21])] == ["", "", "past_end"]


def test_times_in_any_order_and_more_than_once(tmp_path):
    path = encode(tmp_path / "a.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p")
    times = [4.1, 0.0, 2.3, 4.1, 0.0]
    shots = [np.array(shot.picture) for shot in video.shots(path, times)]
    for time, shot in zip(times, shots, strict=True):
        assert np.array_equal(shot, np.array(video.shots(path, [time])[0].picture))


def test_a_frame_is_shown_from_its_own_time_on(tmp_path):
    path = encode(tmp_path / "a.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", rate=10)
    _, pictures = ffmpeg.read(path)
    for time, index in ((0.3, 3), (0.7, 7), (0.7 - 1e-4, 6), (2.9999, 29)):
        shot = np.array(video.shots(path, [time])[0].picture)
        assert np.abs(pictures.astype(int) - shot).mean(axis=(1, 2, 3)).argmin() == index
    assert [shot.error for shot in video.shots(path, [2.99, 3.0, 1e9])] == ["", "past_end", "past_end"]
    assert video.probe(path) == 3


def test_damage_is_a_reason_and_what_lies_before_is_right(shared):
    path = shared / "videos/corrupted.mp4"
    times, pictures = ffmpeg.read(path)
    shots = video.shots(path, [0.05, 1.55, 2.35, 3.05, 4.5, 5.5])
    assert [shot.error for shot in shots] == ["", "", "", "undecodable", "undecodable", "past_end"]
    for time, shot in zip((0.05, 1.55, 2.35), shots, strict=False):
        assert np.abs(pictures[np.flatnonzero(times <= time)[-1]].astype(int) - np.array(shot.picture)).mean() < 1


def test_noise_in_a_group_spoils_that_group_only(tmp_path):
    groups = ("-g", "10", "-sc_threshold", "0", "-bf", "2")
    path = encode(tmp_path / "a.mp4", "-c:v", "libx264", *groups, "-pix_fmt", "yuv420p")
    whole = [np.array(shot.picture) for shot in video.shots(path, [0.5, 4.5])]
    content = bytearray(path.read_bytes())
    start, length = places(path)[11]  # the second group's second packet
    content[start : start + length] = np.random.default_rng(0).bytes(length)
    path.write_bytes(content)
    before, inside, after = video.shots(path, [0.5, 3.5, 4.5])
    assert inside.error == "undecodable"
    assert np.array_equal(np.array(before.picture), whole[0])
    assert np.array_equal(np.array(after.picture), whole[1])


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [("a.mp4", b"", "unreadable"), ("a.mp4", b"<html>no</html>" * 99, "unreadable"), ("none.mp4", None, "unreadable")],
)
def test_files_that_are_no_videos(tmp_path, name, content, reason):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    assert [shot.error for shot in video.shots(tmp_path / name, [0, 1])] == [reason, reason]
    with pytest.raises(video.VideoError) as error:
        video.probe(tmp_path / name)
    assert error.value.reason == reason


def test_noise_and_half_a_file(tmp_path):
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(100_000))
    assert video.shots(tmp_path / "noise.mp4", [0])[0].error == "unreadable"
    path = encode(tmp_path / "half.mp4", "-c:v", "libx264", "-pix_fmt", "yuv420p", count=100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])  # the table of contents was at the end
    assert video.shots(path, [0])[0].error == "unreadable"
    path = encode(tmp_path / "half.ts", "-c:v", "libx264", "-pix_fmt", "yuv420p", "-g", "5", count=100)
    whole = np.array(video.shots(path, [2])[0].picture)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    first, last = video.shots(path, [2, 19])
    assert np.array_equal(np.array(first.picture), whole)
    assert last.error == "past_end"


def test_sound_alone(tmp_path):
    path = tmp_path / "sound.mp4"
    command = [ffmpeg.FFMPEG, "-loglevel", "error", "-f", "lavfi", "-i", "sine=duration=1", str(path)]
    subprocess.run(command, check=True)
    assert video.shots(path, [0.5])[0].error == "no_video_stream"
    with pytest.raises(video.VideoError, match="no video stream"):
        video.probe(path)

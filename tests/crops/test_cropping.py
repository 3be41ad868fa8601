"""Crops out of frames: pixels, times, the best of a tracklet, quality, and what is refused."""

import csv
from datetime import datetime
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image, ImageFilter

import ivreid
from ivreid.cli.main import main
from ivreid.crops import Box, judge
from ivreid.errors import DataError, ImageError, UsageError

START = "2026-03-01T22:00:00+01:00"
GIVEN = {"camera": "gate", "start": START, "modality": "infrared", "fps": 10}


@pytest.fixture
def frames(tmp_path):
    """Five frames of noise, 100 x 80, numbered 1, 2, 3, 4, 11."""
    folder = tmp_path / "frames"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in (1, 2, 3, 4, 11):
        pixels = rng.integers(0, 256, (80, 100, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"img{number}.png")
    (folder / "notes.txt").write_text("no frame")
    return folder


def rows(found):
    with found.manifest.open(newline="") as file:
        return list(csv.DictReader(file))


def pixels(path):
    return np.asarray(Image.open(path).convert("RGB"))


def test_crops_are_the_frames_own_pixels_with_time_and_source(frames, tmp_path):
    (tmp_path / "b.txt").write_text("2,7,10,20,30,40,0.9\n11,7,-5,60,20,40,0.8\n11,-1,50,10,20.5,40.2,0.8\n")
    ticks = []
    found = ivreid.crop_frames(
        frames, tmp_path / "b.txt", tmp_path / "out", **GIVEN, progress=lambda *tick: ticks.append(tick)
    )
    assert (found.crops, found.boxes, found.tracklets, found.left_out) == (3, 3, 1, ())
    table = rows(found)
    assert list(table[0]) == ["path", "camera", "time", "modality", "tracklet", "quality", "source"]
    assert [row["source"] for row in table] == [
        "frames/img2.png#xywh=10,20,30,40",
        "frames/img11.png#xywh=0,60,15,20",
        "frames/img11.png#xywh=50,10,21,41",
    ]
    for row in table:
        left, top, width, height = map(int, row["source"].rpartition("=")[2].split(","))
        frame = pixels(frames / row["source"].split("#")[0].split("/")[1])
        np.testing.assert_array_equal(
            pixels(found.manifest.parent / row["path"]), frame[top : top + height, left : left + width]
        )
    # frame 1 is the first: frame 2 is a tenth of a second later, frame 11 a second
    assert [row["time"] for row in table] == [
        "2026-03-01T22:00:00.100000+01:00",
        "2026-03-01T22:00:01+01:00",
        "2026-03-01T22:00:01+01:00",
    ]
    assert [row["tracklet"] for row in table] == ["gate/20260301T220000+0100/7"] * 2 + [""]
    assert {row["camera"] for row in table} == {"gate"} and {row["modality"] for row in table} == {"infrared"}
    assert all(0 <= float(row["quality"]) <= 1 for row in table)
    assert ticks[-1][0] == ticks[-1][1] and [done for done, _ in ticks] == sorted(done for done, _ in ticks)


def test_objects_and_boxes_give_what_a_file_gives(frames, tmp_path):
    (tmp_path / "b.csv").write_text(
        "frame,x1,y1,x2,y2,score,track\nimg3.png,5,5,40,70,0.5,2\n4,5,5,40,70,0.75,2\n"
    )
    box = np.array([[5.0, 5, 40, 70]])
    objects = {
        "img3.png": SimpleNamespace(xyxy=box, confidence=[0.5], tracker_id=[2]),
        4: SimpleNamespace(xyxy=box, confidence=[0.75], tracker_id=[2]),
    }
    values = [Box("img3.png", 5, 5, 40, 70, 0.5, "2"), Box(4, 5, 5, 40, 70, 0.75, "2")]
    tables = [
        rows(ivreid.crop_frames(frames, boxes, tmp_path / name, **GIVEN))
        for name, boxes in (("a", tmp_path / "b.csv"), ("b", objects), ("c", iter(values)))
    ]
    assert tables[0] == tables[1] == tables[2] and len(tables[0]) == 2


def test_boxes_grow_and_are_clipped(frames, tmp_path):
    found = ivreid.crop_frames(frames, [Box(1, 40, 20, 60, 60)], tmp_path / "out", **GIVEN, pad=0.1)
    assert rows(found)[0]["source"].endswith("xywh=38,16,24,48")
    found = ivreid.crop_frames(frames, [Box(1, 90, 70, 200, 300)], tmp_path / "edge", **GIVEN, pad=0.5)
    assert rows(found)[0]["source"].endswith("xywh=35,0,65,80")


def test_the_best_of_each_tracklet_are_kept(tmp_path):
    folder = tmp_path / "frames"
    folder.mkdir()
    rng = np.random.default_rng(1)
    picture = Image.fromarray(rng.integers(0, 256, (160, 200, 3), dtype=np.uint8))
    for number, blur in enumerate((4, 0, 2, 1), start=1):
        picture.filter(ImageFilter.GaussianBlur(blur)).save(folder / f"{number:04d}.png")
    boxes = [Box(number, 60, 10, 110, 130, tracklet="a") for number in (1, 2, 3, 4)]
    boxes += [Box(1, 120, 10, 170, 130, tracklet="b"), Box(3, 10, 10, 50, 130)]
    found = ivreid.crop_frames(folder, boxes, tmp_path / "out", **GIVEN, best=2)
    kept = [(row["source"].split("#")[0][-8:], row["tracklet"][-1:]) for row in rows(found)]
    assert kept == [("0001.png", "b"), ("0002.png", "a"), ("0003.png", ""), ("0004.png", "a")]
    everything = ivreid.crop_frames(folder, boxes, tmp_path / "all", **GIVEN)
    assert everything.crops == 6
    least = sorted(float(row["quality"]) for row in rows(everything))[2]
    few = ivreid.crop_frames(folder, boxes, tmp_path / "few", **GIVEN, min_quality=least)
    assert few.crops == 4


def test_each_part_of_the_quality_moves_as_it_should():
    rng = np.random.default_rng(2)
    scales = [
        np.kron(rng.normal(size=(128 // k, 64 // k)), np.ones((k, k))) * k**0.5 for k in (1, 2, 4, 8, 16)
    ]
    noise = Image.fromarray(np.clip(128 + 12 * sum(scales), 0, 255).astype(np.uint8))
    size, box = (400, 400), Box(1, 100, 100, 164, 228)
    plain = judge(noise, box, size)
    assert (plain.area, plain.aspect, plain.inside, plain.free) == (1, 1, 1, 1) and plain.sharpness > 0.9
    assert judge(noise.filter(ImageFilter.GaussianBlur(3)), box, size).sharpness < 0.2
    dim = noise.point(lambda value: value // 4 + 20)
    assert judge(dim, box, size).sharpness == pytest.approx(
        plain.sharpness, abs=0.02
    )  # contrast does not count
    assert judge(Image.new("RGB", (64, 128), "grey"), box, size).score == 0
    assert judge(noise, Box(1, 100, 100, 132, 164), size).area == 0.5
    assert judge(noise, Box(1, 100, 100, 200, 200), size).aspect == pytest.approx(1 / 1.5**2)
    assert judge(noise, Box(1, 100, 0, 164, 128), size).inside == 0.8  # touches
    half = judge(noise, Box(1, -32, 100, 32, 228), size)
    assert half.inside == pytest.approx(0.25 * 0.8)
    front, behind = Box(1, 132, 110, 200, 230), Box(1, 132, 90, 200, 220)
    assert judge(noise, box, size, [front]).free == pytest.approx(1 - 32 * 118 / (64 * 128))
    assert judge(noise, box, size, [behind]).free == pytest.approx(1 - 0.5 * 32 * 120 / (64 * 128))
    assert judge(noise, box, size, [front, behind]).free == judge(noise, box, size, [front]).free
    assert judge(noise, box, size, [front]).score == pytest.approx(
        plain.sharpness * judge(noise, box, size, [front]).free
    )


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (Box(1, 10, 10, 10, 50, where="b, line 1"), "b, line 1: 0 x 40 pixels have no area"),
        (Box(1, 30, 10, 10, 50, where="b, line 1"), "-20 x 40 pixels"),
        (Box(1, float("nan"), 10, 20, 50, where="b, line 1"), "no number of pixels: nan"),
        (Box(1, 0, 0, float("inf"), 50, where="b, line 1"), "inf"),
        (
            Box(1, 300, 10, 350, 50, where="b, line 1"),
            "less than 8 x 8 pixels lie within the frame of 100 x 80",
        ),
        (Box(1, 10, 10, 15, 50, where="b, line 1"), "less than 8 x 8"),
    ],
)
def test_degenerate_boxes_are_refused_or_left_out_and_named(frames, tmp_path, bad, words):
    good = Box(2, 10, 10, 40, 70)
    with pytest.raises(DataError, match=words):
        ivreid.crop_frames(frames, [good, bad], tmp_path / "out", **GIVEN)
    assert not (tmp_path / "out").exists()
    said = []
    found = ivreid.crop_frames(
        frames, [good, bad], tmp_path / "out", **GIVEN, skip_bad=True, notice=said.append
    )
    assert found.crops == 1 and len(found.left_out) == 1 and words.split(":")[-1].strip() in said[0]


def test_wrong_calls_are_told_before_anything_is_written(frames, tmp_path):
    box, out = [Box(1, 10, 10, 40, 70)], tmp_path / "out"

    def call(boxes=box, source=frames, **changes):
        return ivreid.crop_frames(source, boxes, out, **{**GIVEN, **changes})

    for changes, words in (
        ({"start": "2026-03-01T22:00:00"}, "has no zone; write one, as in 2026-03-01T22:00:00"),
        ({"start": datetime(2026, 3, 1)}, "has no zone"),
        ({"start": "yesterday"}, "is no time"),
        ({"fps": None}, "give --fps"),
        ({"fps": 0}, "more than 0"),
        ({"pad": 2}, "from 0 to 1"),
        ({"best": 0}, "1 or more"),
        ({"camera": " gate"}, "printable letters"),
        ({"min_confidence": 0.5}, "have no confidence"),
    ):
        with pytest.raises(UsageError, match=words):
            call(**changes)
    with pytest.raises(DataError, match=r"frame 5, and .*img1.png to img11.png, numbered 1 to 11"):
        call([Box(5, 1, 2, 30, 40)])
    with pytest.raises(DataError, match=r"frame img5\.png"):
        call([Box("img5.png", 1, 2, 30, 40)])
    with pytest.raises(DataError, match="no such folder"):
        call(source=tmp_path / "nothing")
    with pytest.raises(DataError, match="is one picture"):
        call(source=frames / "img1.png")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no frames"):
        call(source=tmp_path / "empty")
    assert not out.exists()
    (frames / "img1.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ImageError, match=r"img1\.png"):
        call()


def test_a_manifest_is_replaced_only_when_asked_and_its_crops_with_it(frames, tmp_path):
    out = tmp_path / "out"
    many = [Box(number, 10, 10, 40, 70) for number in (1, 2, 3)]
    ivreid.crop_frames(frames, many, out, **GIVEN)
    (out / "crops" / "mine.png").write_bytes(b"kept")
    with pytest.raises(UsageError, match="--overwrite"):
        ivreid.crop_frames(frames, many, out, **GIVEN)
    ivreid.crop_frames(frames, many[:1], out, **GIVEN, overwrite=True)
    assert sorted(file.name for file in (out / "crops").iterdir()) == ["00000001-001.png", "mine.png"]
    with pytest.raises(UsageError, match="holds the frames"):
        ivreid.crop_frames(out / "crops", many[:1], out, **GIVEN, overwrite=True)


def test_numbers_that_are_no_frames_numbers_are_places(frames, tmp_path):
    for number, file in enumerate(sorted(frames.glob("*.png"), key=lambda file: int(file.stem[3:]))):
        file.rename(frames / f"2026030122{number:02d}00.png")
    found = ivreid.crop_frames(frames, [Box(5, 10, 10, 40, 70)], tmp_path / "out", **GIVEN)
    assert rows(found)[0]["time"] == "2026-03-01T22:00:00.400000+01:00"
    zero = ivreid.crop_frames(frames, [Box(0, 10, 10, 40, 70)], tmp_path / "zero", **GIVEN, offset=1)
    assert rows(zero)[0]["time"] == START


def test_a_videos_frames_and_clock(tmp_path):
    av = pytest.importorskip("av", reason="the extra `video` is not installed")
    file = tmp_path / "clip.mkv"
    pictures = [np.full((48, 64, 3), 40 * i, dtype=np.uint8) for i in range(6)]
    for picture in pictures:
        picture[::4, ::4] = 255
    with av.open(str(file), "w") as container:
        stream = container.add_stream("ffv1", rate=5)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "bgr0"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())
    given = {**GIVEN, "fps": None}
    boxes = [Box(4, 8, 8, 40, 40), Box(1, 8, 8, 40, 40)]
    found = ivreid.crop_frames(file, boxes, tmp_path / "out", **given)
    table = rows(found)
    assert [row["source"] for row in table] == [f"clip.mkv#frame={n}&xywh=8,8,32,32" for n in (1, 4)]
    assert [row["time"][11:26] for row in table] == ["22:00:00+01:00", "22:00:00.600000"]
    np.testing.assert_array_equal(pixels(tmp_path / "out" / table[1]["path"]), pictures[3][8:40, 8:40])
    slow = rows(ivreid.crop_frames(file, boxes, tmp_path / "slow", **{**GIVEN, "fps": 1}))
    assert slow[1]["time"] == "2026-03-01T22:00:03+01:00"
    with pytest.raises(DataError, match="has 6 frames, and the boxes name frame 9"):
        ivreid.crop_frames(file, [Box(9, 8, 8, 40, 40)], tmp_path / "far", **given)
    with pytest.raises(DataError, match="numbered from 1"):
        ivreid.crop_frames(file, [Box("a.jpg", 8, 8, 40, 40)], tmp_path / "far", **given)
    (tmp_path / "broken.mp4").write_bytes(b"\0" * 999)
    with pytest.raises(DataError, match=r"broken\.mp4 is no video"):
        ivreid.crop_frames(tmp_path / "broken.mp4", boxes, tmp_path / "far", **given)


def test_without_a_decoder_one_sentence_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "av", None)
    (tmp_path / "clip.mp4").write_bytes(b"x")
    with pytest.raises(UsageError, match=r"pip install 'ivreid\[video\]', or write its frames into a folder"):
        ivreid.crop_frames(tmp_path / "clip.mp4", [Box(1, 0, 0, 9, 9)], tmp_path / "out", **GIVEN)


def test_the_command(frames, tmp_path, capsys):
    (tmp_path / "gt.txt").write_text(
        "1,3,10,10,30,60,1,1,0.5\n2,3,10,10,30,60,1,1,1\n2,4,10,10,0,60,1,1,1\n3,5,0,0,9,9,0,1,1\n"
    )
    arguments = [
        *("crop", str(frames), str(tmp_path / "gt.txt"), "--camera", "gate", "--start", START, "--fps", "25"),
        *("--modality", "infrared", "--out", str(tmp_path / "out"), "--best", "1"),
    ]

    def call(*more):
        with pytest.raises(SystemExit) as left:
            main([*arguments, *more])
        return left.value.code

    assert call() == 2
    assert "line 3: 0 x 60 pixels have no area" in capsys.readouterr().err
    assert call("--skip-bad") == 0
    shown = capsys.readouterr()
    assert "1 crops of 3 boxes, 1 tracklets" in " ".join(shown.out.split())
    assert "marked as no pedestrian" in " ".join(shown.err.split())
    assert call("--start", "2026-03-01 22:00") == 2 and "no zone" in capsys.readouterr().err

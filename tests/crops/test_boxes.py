"""Boxes of detectors and trackers, in their files and as objects."""

import json
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from ivreid.crops import Box, boxes_of
from ivreid.crops.box_files import read_boxes
from ivreid.errors import DataError, UsageError


def edges(box):
    return (box.left, box.top, box.right, box.bottom)


def test_mot_detections_and_ground_truth(tmp_path):
    file = tmp_path / "det.txt"
    file.write_text("1,-1,10,20,30,60,0.9,-1,-1,-1\n2, 7, 1.5, 2, 3, 4, -1, -1, -1, -1\n\n")
    first, second = read_boxes(file).boxes
    assert (first.frame, edges(first), first.confidence, first.tracklet) == (1, (10, 20, 40, 80), 0.9, None)
    assert (second.frame, edges(second), second.confidence, second.tracklet) == (
        2,
        (1.5, 2, 4.5, 6),
        None,
        "7",
    )
    assert second.where.endswith("det.txt, line 2")
    # nine values: flag, class, visibility
    (tmp_path / "gt.txt").write_text("1,3,0,0,9,9,1,1,0.5\n1,4,0,0,9,9,0,1,0.5\n1,5,0,0,9,9,1,3,1\n")
    found = read_boxes(tmp_path / "gt.txt")
    assert [(box.tracklet, box.confidence) for box in found.boxes] == [("3", None)]
    assert found.notes == [f"2 boxes of {tmp_path / 'gt.txt'} are marked as no pedestrian to count; left out"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1,2,3\n", "line 1: 3 values"),
        ("1,1,x,3,4,5,1\n", "line 1: value 3 is 'x', no number"),
        ("1.5,1,2,3,4,5,1\n", "frame 1.5 is no frame's number"),
        ("-1,1,2,3,4,5,1\n", "frame -1"),
    ],
)
def test_bad_mot_lines_are_named(tmp_path, text, words):
    (tmp_path / "b.txt").write_text(text)
    with pytest.raises(DataError, match=words):
        read_boxes(tmp_path / "b.txt")


def test_csv_by_corners_or_by_size_in_any_order(tmp_path):
    file = tmp_path / "b.csv"
    file.write_text("y1,x1,x2,y2,frame,score,track_id\n2,1,4,8,a.jpg,0.5,p3\n0,0,5,5,12,,\n")
    first, second = read_boxes(file).boxes
    assert (first.frame, edges(first), first.confidence, first.tracklet) == ("a.jpg", (1, 2, 4, 8), 0.5, "p3")
    assert (second.frame, second.confidence, second.tracklet) == (12, None, None)
    file.write_text("frame,x,y,w,h\n3,1,2,4,8\n")
    assert edges(read_boxes(file).boxes[0]) == (1, 2, 5, 10)
    file.write_text("1,-1,10,20,30,60,0.9\n")  # MOT's under the other suffix
    assert edges(read_boxes(file).boxes[0]) == (10, 20, 40, 80)
    for text, words in (
        ("frame,x,y,w\n1,2,3,4\n", "one column `height`"),
        ("x,y,w,h\n1,2,3,4\n", "one column `frame`"),
        ("", "it has nothing"),
        ("frame,x,y,w,h\n3,1,2\n", "line 2: 3 cells for 5 columns"),
        ("frame,x,y,w,h\n3,1,2,tall,4\n", "line 2: width is 'tall'"),
    ):
        file.write_text(text)
        with pytest.raises(DataError, match=words):
            read_boxes(file)


def coco(**changes):
    return {
        "images": [{"id": 9, "file_name": "cam/0002.jpg"}, {"id": 8, "file_name": "0001.jpg"}],
        "categories": [{"id": 1, "name": "person"}, {"id": 3, "name": "car"}],
        "annotations": [
            {"image_id": 9, "category_id": 1, "bbox": [1, 2, 3, 4], "track_id": 5, "score": 0.5},
            {"image_id": 9, "category_id": 3, "bbox": [1, 2, 3, 4]},
            {"image_id": 8, "category_id": 1, "bbox": [1, 2, 3, 4], "iscrowd": 1},
            {"image_id": 8, "category_id": 1, "bbox": [0, 0, 3, 4], "attributes": {"track_id": 6}},
        ],
        **changes,
    }


def test_coco_annotations_and_detections(tmp_path):
    file = tmp_path / "b.json"
    file.write_text(json.dumps(coco()))
    found = read_boxes(file)
    assert [(box.frame, box.tracklet, box.confidence) for box in found.boxes] == [
        ("cam/0002.jpg", "5", 0.5),
        ("0001.jpg", "6", None),
    ]
    assert edges(found.boxes[0]) == (1, 2, 4, 6)
    assert [note.split(" of ")[0] for note in found.notes] == ["1 boxes", "1 boxes"]
    file.write_text(json.dumps([{"image_id": 4, "bbox": [0, 0, 2, 2], "score": 0.1, "category_id": 1}]))
    assert read_boxes(file).boxes[0].frame == 4
    file.write_text(json.dumps([{"image_id": 4, "bbox": [0, 0, 2, 2], "category_id": c} for c in (0, 2)]))
    with pytest.raises(UsageError, match=r"which category are people\? It has 0, 2; say --category N"):
        read_boxes(file)
    assert len(read_boxes(file, category=2).boxes) == 1
    with pytest.raises(UsageError, match="no box of category 7"):
        read_boxes(file, category=7)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({"images": []}, "no COCO file"),
        (3, "no COCO file"),
        (coco(annotations=[3]), "no list of objects"),
        (coco(images={"a": 1}), "`images` is no list of objects"),
        (coco(annotations=[{"image_id": 9, "category_id": 1, "bbox": [1, 2]}]), "bbox"),
        (coco(annotations=[{"image_id": 9, "category_id": 1, "bbox": [1, 2, "x", 3]}]), "no number"),
        (coco(annotations=[{"image_id": 99, "category_id": 1, "bbox": [1, 2, 3, 4]}]), "image_id 99"),
        (coco(annotations=[{"image_id": [9], "category_id": 1, "bbox": [1, 2, 3, 4]}]), "image_id"),
    ],
)
def test_bad_coco_files_are_named(tmp_path, value, words):
    (tmp_path / "b.json").write_text(json.dumps(value))
    with pytest.raises(DataError, match=words):
        read_boxes(tmp_path / "b.json")


def test_an_unknown_form_is_asked_for(tmp_path):
    (tmp_path / "b.dat").write_text("1,-1,10,20,30,60,0.9\n")
    with pytest.raises(UsageError, match="say which with --format"):
        read_boxes(tmp_path / "b.dat")
    with pytest.raises(UsageError, match="--format"):
        read_boxes(tmp_path / "b.dat", "yolo")
    assert len(read_boxes(tmp_path / "b.dat", "mot").boxes) == 1


@pytest.mark.parametrize("make", [list, np.array, torch.tensor])
def test_objects_of_any_detector(make):
    found = boxes_of(
        SimpleNamespace(
            xyxy=make([[1.0, 2.0, 5.0, 8.0], [0.0, 0.0, 2.0, 2.0]]),
            confidence=make([0.5, 0.25]),
            tracker_id=make([4, -1]),
        ),
        12,
    )
    assert found[0] == Box(12, 1, 2, 5, 8, 0.5, "4", "frame 12, box 1")
    assert found[1].tracklet is None and found[1].confidence == 0.25
    bare = boxes_of(SimpleNamespace(xyxy=make([[1.0, 2.0, 5.0, 8.0]]), confidence=None), "a.jpg")
    assert (bare[0].frame, bare[0].confidence, bare[0].tracklet) == ("a.jpg", None, None)
    assert boxes_of(SimpleNamespace(xyxy=np.empty((0, 4))), 1) == []


def test_objects_of_another_kind_are_named():
    for bad, words in (
        (3, "without `.xyxy`"),
        (SimpleNamespace(xyxy=[[1, 2, 3]]), r"\(boxes, 4\)"),
        (SimpleNamespace(xyxy=[[1, 2, 3, 4]], tracker_id=[1, 2]), "tracker_id"),
        (SimpleNamespace(xyxy="person"), "real numbers"),
    ):
        with pytest.raises(DataError, match=words):
            boxes_of(bad, 1)

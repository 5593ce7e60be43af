"""``evit-mobile evaluate``: its figures are those of torchmetrics and pycocotools, from outputs that a bare interpreter
gave.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from ai_edge_litert.interpreter import Interpreter
from click.testing import CliRunner
from numpy.typing import NDArray
from PIL import Image

from benchmarks.accuracy import shapes
from evit_mobile.cli.evaluate import command
from evit_mobile.errors import RequestError
from evit_mobile.models.labels import class_names, wordnet_ids

torchmetrics = pytest.importorskip("torchmetrics")
pytest.importorskip("pycocotools")
DATA = Path(__file__).resolve().parent.parent / "data"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
#: The training drawings are 0 to 999,999.
FIRST = 3_000_000


def _evaluate(model: Path, folder: Path, *arguments: object) -> dict[str, Any]:
    done = CliRunner().invoke(
        command, [str(model), "--data", str(folder), "--json", *map(str, arguments)], catch_exceptions=False
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def _bare(model: Path, image: Image.Image) -> dict[str, NDArray[np.float32]]:
    """Outputs for an image that has the model's size, without any code of ours."""
    interpreter = Interpreter(model_path=str(model))
    runner = interpreter.get_signature_runner()
    pixels = (np.asarray(image.convert("RGB"), np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
    outputs: dict[str, NDArray[np.float32]] = runner(image=pixels[np.newaxis].astype(np.float32))
    return outputs


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "labels.txt"
    path.write_text("\n".join(shapes.CLASSES))
    return path


@pytest.fixture(scope="session")
def ranked(small_tflite: Path) -> list[tuple[Image.Image, NDArray[np.float32]]]:
    """Twelve pictures that a 96x96 model with crop fraction 0.875 sees whole but for their border, and its logits."""
    pictures = []
    for seed in range(12):
        picture = shapes.draw(FIRST + seed).image.crop((9, 9, 118, 118))  # 109 is 96 / 0.875, truncated
        middle = picture.crop((6, 6, 102, 102))
        pictures.append((picture, _bare(small_tflite, middle)["logits"][0]))
    return pictures


def _ranked_folder(folder: Path, ranked: list[tuple[Image.Image, NDArray[np.float32]]], names: list[str]) -> list[int]:
    """Five pictures under the model's best class, four under its third best, three under its eighth; gives the
    classes.
    """
    truth = []
    for number, (picture, logits) in enumerate(ranked):
        rank = 0 if number < 5 else 2 if number < 9 else 7
        truth.append(int(np.argsort(-logits)[rank]))
        place = folder / names[truth[-1]]
        place.mkdir(parents=True, exist_ok=True)
        picture.save(place / f"{number}.png")
    return truth


@pytest.mark.parametrize("naming", ["names", "numbers", "wordnet"])
def test_top_1_and_5_are_torchmetrics(naming: str, small_tflite: Path, tmp_path: Path, ranked: list[Any]) -> None:
    names = {
        "names": class_names("classification", 1000),
        "numbers": [str(i) for i in range(1000)],
        "wordnet": wordnet_ids(),
    }[naming]
    truth = torch.tensor(_ranked_folder(tmp_path / "set", ranked, names))
    logits = torch.from_numpy(np.stack([scores for _, scores in ranked]))
    figures = _evaluate(small_tflite, tmp_path / "set")
    for key, k in (("top1", 1), ("top5", 5)):
        theirs = torchmetrics.functional.classification.multiclass_accuracy(
            logits, truth, 1000, top_k=k, average="micro"
        )
        assert figures[key] == pytest.approx(float(theirs))
    assert (figures["top1"], figures["top5"], figures["images"]) == (pytest.approx(5 / 12), pytest.approx(9 / 12), 12)


def test_a_limit_is_spread_over_the_classes(small_tflite: Path, tmp_path: Path, ranked: list[Any]) -> None:
    _ranked_folder(tmp_path / "set", ranked, [str(index) for index in range(1000)])
    figures = _evaluate(small_tflite, tmp_path / "set", "--limit", 4)
    assert (figures["images"], figures["images_in_folder"]) == (4, 12)


def _coco(
    folder: Path, count: int, size: int = shapes.SIDE, names: tuple[str, ...] = shapes.CLASSES
) -> list[shapes.Drawing]:
    """Drawings with their boxes as COCO writes them; category ids have gaps, as COCO's own. ``size``: the pictures are
    enlarged to it.
    """
    (folder / "images").mkdir(parents=True)
    drawings = [shapes.draw(FIRST + seed) for seed in range(count)]
    factor, notes = size / shapes.SIDE, []
    for number, drawing in enumerate(drawings):
        drawing.image.resize((size, size), Image.Resampling.BICUBIC).save(folder / "images" / f"{number}.png")
        for box, kind in zip(drawing.boxes * factor, drawing.classes):
            x0, y0, x1, y1 = box.tolist()
            area = (x1 - x0) * (y1 - y0)
            box_of = [x0, y0, x1 - x0, y1 - y0]
            notes.append(
                {
                    "id": len(notes),
                    "image_id": 10 + number,
                    "category_id": 5 * int(kind) + 3,
                    "bbox": box_of,
                    "area": area,
                    "iscrowd": 0,
                }
            )
    document = {
        "images": [
            {"id": 10 + number, "file_name": f"{number}.png", "width": size, "height": size} for number in range(count)
        ],
        "annotations": notes, "categories": [{"id": 5 * index + 3, "name": name} for index, name in enumerate(names)],
    }  # fmt: skip
    (folder / "instances_val.json").write_text(json.dumps(document))
    return drawings


@pytest.fixture(scope="session")
def detector(converted: Callable[..., Path]) -> Path:
    return converted("shapes-det")


@pytest.fixture(scope="session")
def segmenter(converted: Callable[..., Path]) -> Path:
    return converted("shapes-seg", weights=DATA / "shapes-seg.safetensors")


def test_average_precision_is_torchmetrics(detector: Path, tmp_path: Path) -> None:
    """Boxes from a bare interpreter, torchvision's non-maximum suppression, torchmetrics' MeanAveragePrecision."""
    from torchvision.ops import batched_nms

    drawings = _coco(tmp_path / "set", 12)
    metric = torchmetrics.detection.MeanAveragePrecision(backend="pycocotools")
    for drawing in drawings:
        outputs = _bare(detector, drawing.image)
        boxes = torch.from_numpy(outputs["boxes"][0]).clamp(0, shapes.SIDE)
        scores, classes = torch.from_numpy(outputs["scores"][0]).max(1)
        likely = scores >= 0.001
        kept = batched_nms(torch.from_numpy(outputs["boxes"][0])[likely], scores[likely], classes[likely], 0.65)[:100]
        prediction = {"boxes": boxes[likely][kept], "scores": scores[likely][kept], "labels": classes[likely][kept]}
        metric.update(
            [prediction], [{"boxes": torch.from_numpy(drawing.boxes), "labels": torch.from_numpy(drawing.classes)}]
        )
    theirs, ours = metric.compute(), _evaluate(detector, tmp_path / "set")
    for key, their_key in (
        ("ap", "map"),
        ("ap50", "map_50"),
        ("ap75", "map_75"),
        ("ap_medium", "map_medium"),
        ("ar_100", "mar_100"),
    ):
        assert ours[key] == pytest.approx(float(theirs[their_key]), abs=1e-6), key
    assert 0.5 < ours["ap"] < 1 and ours["ap_large"] is None and ours["images"] == 12


def test_boxes_are_judged_in_the_pictures_own_pixels(detector: Path, tmp_path: Path) -> None:
    """Pictures of three times the model's size: the same boxes are found, and are three times as large."""
    _coco(tmp_path / "small", 8)
    _coco(tmp_path / "large", 8, size=3 * shapes.SIDE)
    assert _evaluate(detector, tmp_path / "large")["ap50"] == pytest.approx(
        _evaluate(detector, tmp_path / "small")["ap50"], abs=0.05
    )


def _ignoring(mask: NDArray[np.int64]) -> NDArray[np.int64]:
    """The upper eighth of a mask is not judged."""
    cut = mask.copy()
    cut[: len(mask) // 8] = 255
    return cut


@pytest.mark.parametrize("layout", ["plain", "cityscapes"])
def test_miou_is_torchmetrics(layout: str, segmenter: Path, tmp_path: Path) -> None:
    folders = {"plain": ("images", "masks"), "cityscapes": ("leftImg8bit/val/bern", "gtFine/val/bern")}[layout]
    pictures, masks = (tmp_path / "set" / name for name in folders)
    pictures.mkdir(parents=True), masks.mkdir(parents=True)
    metric = torchmetrics.JaccardIndex(task="multiclass", num_classes=4, average="none", ignore_index=255)
    accuracy = torchmetrics.Accuracy(task="multiclass", num_classes=4, average="micro", ignore_index=255)
    for number in range(6):
        drawing = shapes.draw(FIRST + number)
        expected = _ignoring(drawing.mask)
        picture, mask = ("_leftImg8bit", "_gtFine_labelTrainIds") if layout == "cityscapes" else ("", "")
        drawing.image.save(pictures / f"bern_{number}{picture}.png")
        Image.fromarray(expected.astype(np.uint8)).save(masks / f"bern_{number}{mask}.png")
        classes = torch.from_numpy(_bare(segmenter, drawing.image)["logits"]).argmax(-1)
        metric.update(classes, torch.from_numpy(expected)[None])
        accuracy.update(classes, torch.from_numpy(expected)[None])
    ours, theirs = _evaluate(segmenter, tmp_path / "set"), metric.compute()
    assert list(ours["iou"].values()) == pytest.approx(theirs.tolist(), abs=1e-6)
    assert ours["miou"] == pytest.approx(float(theirs.mean()), abs=1e-6) and ours["miou"] > 0.7
    assert ours["pixel_accuracy"] == pytest.approx(float(accuracy.compute()), abs=1e-6)


def test_cityscapes_own_numbers(tmp_path: Path) -> None:
    """road 7, car 26 and bicycle 33 are classes 0, 13 and 18; 0 and 29 are not judged."""
    from evit_mobile.evaluation.segmentation import read_mask

    Image.fromarray(np.array([[7, 26, 33, 0, 29]], np.uint8)).save(tmp_path / "a_gtFine_labelIds.png")
    assert read_mask(tmp_path / "a_gtFine_labelIds.png", 19).tolist() == [[0, 13, 18, 255, 255]]


def _bad_classification(folder: Path) -> None:
    (folder / "no such class").mkdir(parents=True)
    (folder / "goldfish").mkdir()
    Image.new("RGB", (9, 9)).save(folder / "goldfish" / "a.png")


def _damaged_picture(folder: Path) -> None:
    (folder / "goldfish").mkdir(parents=True)
    (folder / "goldfish" / "a.jpg").write_bytes(b"\xff\xd8\xff no picture")


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda folder: None, "is no folder"),
        (lambda folder: folder.mkdir(), "has no folders in it.*one folder a class"),
        (lambda folder: (folder / "goldfish").mkdir(parents=True), "no pictures"),
        (_bad_classification, "1 of them name no class: no such class"),
        (_damaged_picture, r"a\.jpg"),
    ],
)
def test_classification_folders_that_are_wrong(
    prepare: Callable[[Path], None], message: str, small_tflite: Path, tmp_path: Path
) -> None:
    prepare(tmp_path / "set")
    with pytest.raises(RequestError, match=message):
        _evaluate(small_tflite, tmp_path / "set")


def _instances(**changes: Any) -> str:
    """A file of one picture with one object, with fields of either replaced."""
    image = {"id": 1, "file_name": "x.png"}
    note = {"image_id": 1, "category_id": 1, "bbox": [0, 0, 1, 1]}
    image.update((key, value) for key, value in changes.items() if key in image)
    note.update((key, value) for key, value in changes.items() if key in note)
    return json.dumps({"images": [image], "annotations": [note], "categories": [{"id": 1, "name": "cat"}]})


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "has no COCO file"),
        ({"a.json": "{}", "b.json": "{}"}, "2 COCO files.*--annotations"),
        ({"a.json": "no json"}, "no COCO instances file"),
        ({"a.json": "[1]"}, "no COCO instances file"),
        ({"a.json": '{"images": [], "annotations": []}'}, "categories: Field required"),
        ({"a.json": _instances(category_id=9)}, "annotations.0 is of a category or an image that is not in the file"),
        ({"a.json": _instances(bbox=[0, 0, 1])}, "annotations.0.bbox.3: Field required"),
        ({"a.json": _instances(bbox=[0, 0, 1, 1e300])}, "annotations.0.bbox.3"),
        ({"a.json": _instances(file_name="/etc/x.png")}, "images.0.file_name: .*leads out"),
        ({"a.json": _instances(file_name="a/../../x.png")}, "images.0.file_name: .*leads out"),
        ({"a.json": _instances(id="1e9")}, "images.0.id"),
        ({"a.json": "[" * 100_000}, "no COCO instances file"),
        ({"a.json": '{"images": [], "annotations": [], "categories": []}'}, "0 categories, the model 3 classes"),
        (
            {
                "a.json": json.dumps(
                    {
                        "images": [{"id": 1, "file_name": "x.jpg"}],
                        "annotations": [],
                        "categories": [{"id": i, "name": str(i)} for i in range(3)],
                    }
                )
            },
            "x.jpg of .* is in none of",
        ),
    ],
)
def test_coco_folders_that_are_wrong(files: dict[str, str], message: str, detector: Path, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(RequestError, match=message):
        _evaluate(detector, tmp_path)


def test_masks_that_are_wrong(segmenter: Path, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="neither leftImg8bit nor images and masks"):
        _evaluate(segmenter, tmp_path)
    (tmp_path / "images").mkdir(), (tmp_path / "masks").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "images" / "a.png")
    with pytest.raises(RequestError, match="1 of 1 pictures have no mask"):
        _evaluate(segmenter, tmp_path)
    for mask, message in (
        (Image.new("RGB", (40, 30)), "3 channels"),
        (Image.new("L", (30, 40)), "is 40x30, its picture 30x40"),
        (Image.new("L", (40, 30), 7), "holds class 7, the model has 4"),
        (Image.new("L", (40, 30), 255), "no pixel that is judged"),
    ):
        mask.save(tmp_path / "masks" / "a.png")
        with pytest.raises(RequestError, match=message):
            _evaluate(segmenter, tmp_path)


def test_labels_of_another_number(detector: Path, small_tflite: Path, tmp_path: Path, labels: Path) -> None:
    _coco(tmp_path / "set", 1)
    labels.write_text("one\ntwo")
    for model in (detector, small_tflite):
        with pytest.raises(RequestError, match="--labels has 2 names, the model"):
            _evaluate(model, tmp_path / "set", "--labels", labels)


def test_a_model_of_another_task(converted: Callable[..., Path], tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="does not say that it classifies"):
        _evaluate(converted("attention-linear"), tmp_path)

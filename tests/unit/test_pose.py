"""BlazePose: the reader of tflite files, the two modules, and their export."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
import tflite
import torch
from PIL import Image
from skimage import data

from export.trace import trace
from tryon import contract
from tryon.assets import asset_path
from tryon.models import tflite_reader
from tryon.models.pose import Detector, Pose, detector_anchors
from tryon.models.tflite_reader import TfliteGraph

REFERENCE = Path(__file__).parent / "data" / "blazepose_litert.npz"
"""What LiteRT 2.3.0 computes from the two files on the photo below, thinned out."""


@pytest.fixture(scope="module")
def pose() -> Pose:
    return Pose()


@pytest.fixture(scope="module")
def detector() -> Detector:
    return Detector()


@pytest.fixture(scope="module")
def bust() -> np.ndarray:
    """The astronaut at 256x256, by exact averages so that no library's resize matters."""
    photo = data.astronaut().reshape(256, 2, 256, 2, 3).astype(np.float32)
    return photo.mean((1, 3)).round().astype(np.uint8)


@pytest.fixture(scope="module")
def thumbnail() -> np.ndarray:
    return data.astronaut()[32:480:2, 32:480:2].copy()


def letterbox(path: Path, side: int) -> np.ndarray:
    photo = Image.open(path).convert("RGB")
    square = Image.new("RGB", (max(photo.size),) * 2)
    square.paste(photo, ((square.width - photo.width) // 2, (square.height - photo.height) // 2))
    return np.array(square.resize((side, side), Image.Resampling.LANCZOS))


# ---- the reader ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "pad"),
    [
        (8, 3, 1, 1, None),
        (7, 3, 2, 1, None),
        (8, 3, 2, None, (0, 1)),  # TensorFlow pads right and below, torch would pad both sides
        (8, 5, 2, None, (1, 2)),
        (8, 2, 2, 0, None),
        (9, 4, 4, None, (1, 2)),
    ],
)
def test_same_padding_is_tensorflows(size, kernel, stride, padding, pad):
    own, before = tflite_reader._same((size, size), (kernel, kernel), (stride, stride), (1, 1))
    if padding is not None:
        assert (own, before) == ((padding, padding), ())
    else:
        assert (own, before) == ((0, 0), pad + pad)


class _Level:
    """One level of TFLite's sparse format, as the flatbuffers class shows it."""

    def __init__(self, dense=None, segments=None, indices=None):
        self.dense, self.segments, self.indices = dense, segments, indices

    def Format(self):
        if self.dense is not None:
            return tflite.DimensionType.DENSE
        return tflite.DimensionType.SPARSE_CSR

    def DenseSize(self):
        return self.dense

    def ArraySegmentsType(self):
        return None

    def ArrayIndicesType(self):
        return None

    def ArraySegments(self):
        return self.segments

    def ArrayIndices(self):
        return self.indices


def _sparsity(order, blocks, levels):
    return SimpleNamespace(
        TraversalOrderAsNumpy=lambda: np.array(order),
        BlockMapAsNumpy=lambda: np.array(blocks),
        BlockMapLength=lambda: len(blocks),
        DimMetadata=lambda i: levels[i],
    )


DENSE = np.array([[1, 0, 2, 3], [0, 4, 0, 0], [0, 0, 5, 0], [0, 0, 0, 6]], np.float32)


@pytest.mark.parametrize(
    ("values", "sparsity"),
    [
        ([1, 2, 3, 4, 5, 6], _sparsity([0, 1], [], [
            _Level(dense=4), _Level(segments=[0, 3, 4, 5, 6], indices=[0, 2, 3, 1, 2, 3])])),
        ([1, 4, 2, 5, 3, 6], _sparsity([1, 0], [], [
            _Level(dense=4), _Level(segments=[0, 1, 2, 4, 6], indices=[0, 1, 0, 2, 0, 3])])),
        ([1, 0, 0, 4, 2, 3, 0, 0, 5, 0, 0, 6], _sparsity([0, 1, 2, 3], [0, 1], [
            _Level(dense=2), _Level(segments=[0, 2, 3], indices=[0, 1, 1]),
            _Level(dense=2), _Level(dense=2)])),
    ],
    ids=["rows", "columns", "blocks of 2x2"],
)  # fmt: skip
def test_sparse_weights_are_made_dense(monkeypatch, values, sparsity):
    monkeypatch.setattr(tflite_reader, "_vector", lambda kind, table: np.array(table, np.int64))
    dense = tflite_reader._densify(np.array(values, np.float32), (4, 4), sparsity)
    np.testing.assert_array_equal(dense, DENSE)


def test_a_missing_file_names_the_command(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"python -m tryon\.assets absent\.tflite"):
        TfliteGraph(tmp_path / "absent.tflite")


@pytest.mark.parametrize("keep", [0, 3, 100, 2000])
def test_a_damaged_file_is_named(tmp_path, keep):
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(asset_path("pose_detection.tflite").read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"damaged\.tflite.*delete it"):
        TfliteGraph(damaged)


def test_the_wrong_file_is_named():
    with pytest.raises(ValueError, match=r"pose_detection\.tflite: no .*shape"):
        Pose(asset_path("pose_detection.tflite"))
    with pytest.raises(ValueError, match=r"pose_landmark_full\.tflite: no .*shape"):
        Detector(asset_path("pose_landmark_full.tflite"))


# ---- against LiteRT ------------------------------------------------------------------------------


def _close(name: str, got: torch.Tensor, want: np.ndarray, tolerance: float) -> None:
    assert got.shape == want.shape, name
    difference = np.abs(got.numpy() - want).max() / np.abs(want).max()
    assert difference <= tolerance, f"{name}: {difference:.1e} of the largest value"


def test_pose_equals_litert(pose, bust):
    want = np.load(REFERENCE)
    x = torch.from_numpy(bust).permute(2, 0, 1)[None].float() / 255
    with torch.inference_mode():
        landmarks, score, mask, heatmaps, world = pose.graph(x)
    _close("landmarks", landmarks, want["landmarks"], 1e-4)
    _close("score", score, want["score"], 1e-4)
    _close("world", world, want["world"], 1e-4)
    _close("heatmaps", heatmaps.permute(0, 2, 3, 1)[:, ::8, ::8], want["heatmaps"], 1e-4)
    # The mask's logits reach hundreds and rounding grows on the way there: against float64, LiteRT
    # is off by as much as torch.
    _close("mask", mask.permute(0, 2, 3, 1)[:, ::16, ::16], want["mask"], 1e-3)


def test_detector_equals_litert(detector, thumbnail):
    want = np.load(REFERENCE)
    x = torch.from_numpy(thumbnail).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.inference_mode():
        boxes, scores = detector.raw(x)
    _close("boxes", boxes[:, ::23], want["boxes"], 1e-4)
    _close("scores", scores[:, ::7], want["scores"], 1e-4)


# ---- where the joints are ------------------------------------------------------------------------


def test_face_and_shoulders_of_a_portrait(pose, bust):
    with torch.inference_mode():
        landmarks, score = pose(torch.from_numpy(bust)[None])[:2]
    points = landmarks[0, :, :2].numpy() * 256
    assert score.item() > 0.5
    # Read off the photo: nose, the wearer's left and right eye, left and right shoulder.
    seen = {0: (116, 58), 2: (127, 50), 5: (108, 49), 11: (141, 95), 12: (72, 95)}
    for joint, place in seen.items():
        assert np.linalg.norm(points[joint] - place) < 7, (joint, points[joint])


def test_joints_and_mask_of_a_whole_person(pose):
    view = letterbox(asset_path("openpeople") / "P010" / "assets" / "amateur_posture.jpg", 256)
    with torch.inference_mode():
        landmarks, score, heatmaps, *_ = pose(torch.from_numpy(view)[None])
        # The mask is not served, but the graph has it.
        mask = pose.graph(torch.from_numpy(view)[None].permute(0, 3, 1, 2) / 255)[2]
        mask = torch.nn.functional.avg_pool2d(mask, 4)
    points = landmarks[0, :, :2].numpy() * 256
    assert score.item() > 0.99
    seen = {0: (128, 45), 11: (149, 72), 12: (108, 71), 13: (153, 106), 14: (103, 106),
            15: (154, 138), 16: (100, 138), 23: (140, 134), 24: (117, 134), 25: (139, 184),
            26: (118, 184), 27: (139, 228), 28: (119, 228)}  # fmt: skip
    inside = mask[0, 0].numpy() > 0
    for joint, place in seen.items():
        assert np.linalg.norm(points[joint] - place) < 6, (joint, points[joint])
        assert landmarks[0, joint, 3] > 0.5, joint
        x, y = (points[joint] / 4).astype(int)
        assert inside[y - 1 : y + 2, x - 1 : x + 2].any(), joint
        peak = divmod(int(heatmaps[0, joint].float().flatten().argmax()), 64)
        assert np.hypot(peak[1] * 4 + 2 - place[0], peak[0] * 4 + 2 - place[1]) < 10, joint
    assert 0.08 < inside.mean() < 0.2
    assert not inside[:, :12].any() and not inside[:, -12:].any()


def test_detector_finds_the_one_person(detector):
    view = letterbox(asset_path("openpeople") / "P010" / "assets" / "amateur_posture.jpg", 224)
    with torch.inference_mode():
        boxes, scores = detector(torch.from_numpy(view)[None])
    best = boxes[0, scores[0].argmax()].numpy() / 224
    assert scores.max() > 0.9
    hips, shoulders = best[4:6] * 256, best[8:10] * 256
    assert np.linalg.norm(hips - (128, 134)) < 8
    assert np.linalg.norm(shoulders - (128, 71)) < 8
    x0, y0, x1, y1 = best[:4] * 256
    assert x0 < 128 < x1 and y0 < 45 < y1, "the box is around the face"
    empty = torch.full((1, 224, 224, 3), 127, dtype=torch.uint8)
    with torch.inference_mode():
        assert detector(empty)[1].max() < 0.3


def test_anchors():
    anchors = [detector_anchors(stride).reshape(-1, 2) for stride in (8, 16, 32)]
    assert sum(map(len, anchors)) == contract.DETECTOR_ANCHORS
    np.testing.assert_allclose(anchors[0][:2], 4)
    np.testing.assert_allclose(anchors[0][2], (12, 4))  # x runs first
    np.testing.assert_allclose(anchors[2][-6:], 208)  # six at each cell of stride 32


def test_the_narrow_picture_finds_the_same_person(detector):
    """Without 32 columns on either side, which are black, in the wide one."""
    path = asset_path("openpeople") / "P010" / "assets" / "amateur_posture.jpg"
    wide = np.zeros((224, 224, 3), np.uint8)
    wide[:, 32:192] = np.asarray(Image.open(path).convert("RGB").resize((160, 224)))
    with torch.inference_mode():
        one, two = (detector(torch.from_numpy(v.copy())[None]) for v in (wide, wide[:, 32:192]))
    assert two[1].shape == (1, 1610)
    best, same = (boxes[0, scores[0].argmax()].numpy() for boxes, scores in (one, two))
    assert min(scores.max() for _, scores in (one, two)) > 0.9
    np.testing.assert_allclose(same.reshape(6, 2) + [32, 0], best.reshape(6, 2), atol=4)


# ---- the contract, batches, training, export -----------------------------------------------------


def _noise(name: str, batch: int, seed: int = 0) -> np.ndarray:
    side = contract.POSE_SIZE if name == "pose" else contract.DETECTOR_SIZE
    shape = (batch, side, side, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize("name", ["pose", "detector"])
def test_outputs_are_the_contracts_and_batches_do_not_mix(name, request, bust, thumbnail):
    module = request.getfixturevalue(name)
    first = (bust if name == "pose" else thumbnail)[None]
    batch = torch.from_numpy(np.concatenate([first, _noise(name, 2)]))
    with torch.inference_mode():
        together, alone = module(batch), module(batch[:1])
    tensors = contract.model(name).outputs
    assert isinstance(together, tuple) and len(together) == len(tensors)
    for tensor, many, one in zip(tensors, together, alone, strict=True):
        stated = zip((-1, *tensor.shape), many.shape, strict=True)
        assert all(size in (-1, own) for size, own in stated) and len(many) == 3, tensor.name
        assert str(many.dtype) == f"torch.{tensor.dtype}", tensor.name
        assert torch.isfinite(many).all(), tensor.name
        scale = one.float().abs().max()
        assert (many[:1].float() - one.float()).abs().max() <= 2e-3 * scale, tensor.name


def test_features_for_training(pose):
    view = letterbox(asset_path("openpeople") / "P010" / "assets" / "amateur_posture.jpg", 256)
    images = torch.from_numpy(view).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        full = pose.features(images)
        with torch.autocast("cpu", torch.bfloat16):
            half = pose.features(images)
    served = dict(zip((t.name for t in contract.model("pose").outputs),
                      pose(torch.from_numpy(view)[None]), strict=True))  # fmt: skip
    assert set(full) == set(served)
    for name, value in full.items():
        torch.testing.assert_close(value, served[name].float(), rtol=2e-3, atol=2e-3, msg=name)
    assert half["features_64"].dtype == torch.bfloat16
    # Within 1.5 pixels: with the landmark head in bfloat16 too it was 4.
    assert (half["landmarks"] - full["landmarks"])[0, :33, :2].abs().max() < 1.5 / 256
    assert not list(pose.parameters()) and not any(b.requires_grad for b in pose.buffers())


@pytest.mark.parametrize("name", ["pose", "detector"])
def test_onnx_equals_torch(name, request, tmp_path, bust, thumbnail):
    module, served = request.getfixturevalue(name), contract.model(name)
    path = tmp_path / f"{name}.onnx"
    names = [t.name for t in served.inputs], [t.name for t in served.outputs]
    trace(served, module, {names[0][0]: _noise(name, 2)}, path)
    onnx.checker.check_model(onnx.load(path), full_check=True)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    photo = (bust if name == "pose" else thumbnail)[None]
    batches = [photo, np.concatenate([photo, _noise(name, 2, seed=1)])]
    if name == "detector":
        batches.append(np.ascontiguousarray(batches[1][:, :, : contract.DETECTOR_NARROW]))
    for batch in batches:
        with torch.inference_mode():
            want = module(torch.from_numpy(batch))
        got = session.run(names[1], {names[0][0]: batch})
        for tensor, w, g in zip(served.outputs, want, got, strict=True):
            assert g.dtype == tensor.dtype and g.shape == w.shape, tensor.name
            w, g = w.float().numpy(), g.astype(np.float32)
            assert np.abs(w - g).max() <= 2e-3 * max(np.abs(w).max(), 1), tensor.name

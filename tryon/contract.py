"""The contract: every served model and its tensors, stated once.

ONNX input and output names, `config.pbtxt` of every target, TensorRT profiles, client dtypes and
benchmark shapes are derived from the tables below. This module imports nothing but the standard
library, so that every side (training, export, the server's Python steps, tests) can read it.

Shapes are given without the batch axis; every served model has one in front (`MAX_BATCH_SIZE`).
A dimension of -1 varies from request to request. Images are NHWC (`canvas` alone is planes), sRGB,
0..255.
"""

from __future__ import annotations

from dataclasses import dataclass, field

CONTRACT_VERSION = "7"
"""Changed whenever a served tensor changes, or a model is added that the client calls; the client
refuses a server that answers another."""

ENSEMBLE = "tryon"
MAX_BATCH_SIZE = 8

# ---- sizes -------------------------------------------------------------------------------------
NET_HEIGHT, NET_WIDTH = 256, 192
"""What the generator sees of the person, and the image encoder of the garment."""
POSE_SIZE = 256
"""Side of the square view that the pose network sees; its central NET_WIDTH columns are the
generator's view."""
DETECTOR_SIZE, DETECTOR_NARROW = 224, 160
"""Sides of the detector's pictures: 224x224, or 224x160 for upright photos."""
MAX_SIDE = 1536
MIN_SIDE = 64
MAX_IMAGE_BYTES = 32 * 1024 * 1024
MAX_PROMPT_CHARACTERS = 512
MAX_TOKENS = 32
CANVAS_SIZES = ((384, 288), (512, 384), (768, 576), (1024, 768))
"""Height and width of the garment canvas from which the composite samples: the smallest whose
height is not below the person picture's longer side divided by 1.34, else the largest."""
OUTPUT_SIZES = ((256, 192), (512, 384), (1024, 768))
"""Picture sizes (height, width) that TensorRT profiles and benchmarks cover."""

# ---- categories --------------------------------------------------------------------------------
CATEGORIES = ("upper", "lower", "dress")
CONDITION = ("upper", "lower", "dress", "has_garment", "has_text")
"""What the `condition` vector holds, in this order, each 0 or 1."""

STYLING: dict[str, tuple[int, ...]] = {
    "size": (-2, -1, 0, 1, 2, 3), "rolled": (0, 1), "open": (0, 1), "tucked": (-1, 0, 1),
}  # fmt: skip
"""How a garment is worn, as words can ask for it, and the values of each: sizes larger than it is
shown; sleeves rolled up; worn open over what was worn before; tucked in (1), hanging out (-1), or
as the old one was (0). Without words all are 0."""

# ---- what the networks predict -----------------------------------------------------------------
LANDMARKS = (
    "neck_front", "neck_left", "neck_right", "shoulder_left", "shoulder_right",
    "armpit_left", "armpit_right", "elbow_left", "elbow_right", "cuff_left", "cuff_right",
    "waist_left", "waist_right", "hip_left", "hip_right", "hem_left", "hem_right", "hem_front",
    "crotch", "knee_left", "knee_right", "leg_left", "leg_right",
)  # fmt: skip
"""Garment landmarks; left and right are the wearer's. `cuff` is the centre of a sleeve's end and
`leg` of a trouser leg's end, at whatever length; `hem` is the lower edge of a top, skirt or dress;
`elbow` and `knee` exist only where the sleeve or leg reaches past them."""

PARSE = ("background", "hair", "face_neck", "arm_left", "arm_right", "leg_left", "leg_right",
         "upper", "lower", "dress", "shoes", "other")  # fmt: skip
"""Classes of a person's parse; skin is classes 2 to 6 (torso skin counts as face_neck)."""
OLD_GARMENTS = {"upper": ("upper",), "lower": ("lower",), "dress": ("upper", "lower", "dress")}
"""Classes of the parse that a garment of each category replaces."""

EMBEDDING = 128
"""Width of z = E^I(I) + E^T(T)."""
POSE_POINTS = 39
POSE_CHANNELS = 48
"""BlazePose: landmarks with heat maps, and channels of each decoder map."""
DETECTOR_ANCHORS = 2254
"""Of 224x224; of 224x160 there are 1610."""
GARMENT_CHANNELS = (32, 64, 96, 128)
"""Channels of E^I's feature maps at 1/4, 1/8, 1/16 and 1/32 of the network's view."""


@dataclass(frozen=True)
class Tensor:
    """One tensor of a served model: its name, dtype (numpy's name, or "bytes") and shape."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Model:
    """A served model. `kind` is "onnx" (a traced network) or "python" (a step in Python)."""

    name: str
    kind: str
    doc: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Step:
    """One step of the ensemble: the model, and where its tensors differ from the ensemble's names.

    `inputs` and `outputs` map a model's tensor name to the ensemble's; a name that is not listed
    goes by itself.
    """

    model: str
    inputs: dict[str, str] = field(default_factory=dict)
    outputs: dict[str, str] = field(default_factory=dict)


def _t(name: str, dtype: str, *shape: int) -> Tensor:
    return Tensor(name, dtype, shape)


_QUARTERS = tuple(
    _t(f"garment_{s}", "float16", c, NET_HEIGHT // s, NET_WIDTH // s)
    for s, c in zip((4, 8, 16, 32), GARMENT_CHANNELS, strict=True)
)
_POSE_MAPS = (
    _t("heatmaps", "float16", POSE_POINTS, 64, 64),
    _t("features_64", "float16", POSE_CHANNELS, 64, 64),
    _t("features_32", "float16", POSE_CHANNELS, 32, 32),
    _t("features_16", "float16", POSE_CHANNELS, 16, 16),
)
_PERSON = _t("person", "uint8", -1, -1, -1)
_GARMENT = _t("garment", "uint8", -1, -1, -1)
_PROMPT = _t("prompt", "bytes", 1)
_CATEGORY = _t("category", "bytes", 1)
_CONDITION = _t("condition", "float32", len(CONDITION))
_ASKED = _t("asked", "float32", len(CONDITION))
_PHOTO = _t("photo", "uint8", -1, -1, 3)
_VIEW = _t("view", "uint8", POSE_SIZE, POSE_SIZE, 3)
_WINDOW = _t("window", "uint8", -1, -1, 3)
_PLACEMENT = _t("placement", "float32", 4)
_BOX = _t("box", "int32", 4)
_CLOTH = _t("cloth", "uint8", -1, -1, -1)
_THUMBNAIL = _t("thumbnail", "uint8", DETECTOR_SIZE, -1, 3)
_DETECTIONS = (_t("boxes", "float32", -1, 12), _t("scores", "float32", -1))
_CANVAS_SIZE = _t("canvas_size", "int32", 2)
_GARMENT_NET = _t("garment_net", "uint8", NET_HEIGHT, NET_WIDTH, 3)
_CANVAS = _t("canvas", "uint8", 4, -1, -1)
_PAINTED = _t("painted", "uint8", -1, -1, 4)
_PATCH = (_t("patch", "uint8", -1, -1, 3), _t("patch_mask", "uint8", -1, -1),
          _t("patch_box", "int32", 4))  # fmt: skip
_Z_TEXT = _t("z_text", "float32", EMBEDDING)
_Z_IMAGE = _t("z_image", "float32", EMBEDDING)
_STYLING = _t("styling", "float32", len(STYLING))
_IDS = _t("input_ids", "int64", -1)
_ATTENTION = _t("attention_mask", "int64", -1)
_GARMENT_LANDMARKS = _t("garment_landmarks", "float32", len(LANDMARKS), 3)
_GARMENT_MASK = _t("garment_mask", "float16", 1, NET_HEIGHT, NET_WIDTH)
_CONFIDENCE = _t("confidence", "float32", 1)
_FRAME_SIZE = _t("frame_size", "int32", 2)
_GARMENT_ID = _t("garment_id", "bytes", 1)
_TRACK = (_t("track", "float32", 10), _t("elapsed", "float32", 1))
_TRACKED = _t("tracked", "float32", 10)
_POSE_MARKS = _t("landmarks", "float32", POSE_POINTS, 5)

KEPT = (_CONDITION, _GARMENT_NET, _CANVAS, *_QUARTERS, _GARMENT_LANDMARKS, _GARMENT_MASK, _Z_IMAGE,
        _Z_TEXT, _STYLING)  # fmt: skip
"""All that the generator needs of a garment and its words: what the wardrobe keeps of them."""

MODELS: tuple[Model, ...] = (
    Model(
        # All of a request is read in one step, so that this alone starts an ensemble.
        "decode", "python",
        "Checks a request and decodes its pictures. `person` and `garment` are pixels (H, W, 3), "
        "or (H, W, 4) with alpha, or an encoded file's bytes as (1, 1, N). A garment of shape "
        "(1, 1, 1) means none; an empty prompt means none. `thumbnail` is the person letterboxed "
        f"for the detector, {DETECTOR_SIZE}x{DETECTOR_SIZE} or {DETECTOR_SIZE}x{DETECTOR_NARROW}; "
        "`cloth` the garment's pixels (1x1 for none) and `canvas_size` the "
        "height and width of its canvas; `input_ids` are the checked prompt's WordPiece tokens. "
        "`attention_mask` is 0 on padding.",
        (_PERSON, _GARMENT, _PROMPT, _CATEGORY),
        (_PHOTO, _THUMBNAIL, _CLOTH, _CANVAS_SIZE, _CONDITION, _IDS, _ATTENTION),
    ),
    Model(
        "detector", "onnx",
        "BlazePose's person detector: boxes (x0, y0, x1, y1 in pixels of the thumbnail), key "
        "points (hip centre, full-body circle, shoulder centre, upper-body circle; x, y each) and "
        "scores after the logistic function.",
        (_THUMBNAIL,), _DETECTIONS,
    ),
    Model(
        "crop", "python",
        "Finds the one person and cuts out what the generator works on. `view` is the square pose "
        "view; `window` the photo's own pixels inside the generator's view; `box` (x0, y0, x1, y1) "
        "where the window lies in the photo; `placement` (left, top, right, bottom) where it lies "
        "in the generator's view, in 0..1. `asked` is `condition` once more: the words wait for "
        "it, so that nothing of a picture that shows nobody is begun.",
        (_PHOTO, *_DETECTIONS, _CONDITION),
        (_WINDOW, _VIEW, _BOX, _PLACEMENT, _ASKED),
    ),
    Model(
        "pose", "onnx",
        "BlazePose: 39 landmarks (x, y, z in 0..1 of the view, visibility, presence), whether a "
        "person is there, heat maps and the decoder's feature maps.",
        (_VIEW,),
        (_POSE_MARKS, _t("pose_score", "float32", 1), *_POSE_MAPS),
    ),
    Model(
        "text_encoder", "onnx",
        "E^T: BERT, pooled and projected to z_text; the flat garment painted from the words, "
        f"RGBA of {NET_HEIGHT}x{NET_WIDTH}, or 1x1 where it isn't needed; and `styling`, how the "
        "words say that the garment is worn.",
        (_IDS, _ATTENTION, _CONDITION), (_Z_TEXT, _PAINTED, _STYLING),
    ),
    Model(
        # Apart from `decode`, so that it runs beside the pose network. It waits for the words even
        # where it does not need them: on two cores, three branches at once would hold each other
        # up.
        "cutout", "python",
        "Finds the garment in its picture; without one it is the painted one. `canvas` is its R, "
        "G, B and A, each a plane, letterboxed to 3:4; `garment_net` its RGB as the networks see "
        "it.",
        (_CLOTH, _CANVAS_SIZE, _PAINTED), (_CANVAS, _GARMENT_NET),
    ),
    Model(
        "image_encoder", "onnx",
        "E^I: feature pyramid, garment landmarks (x, y in 0..1 of the canvas, visibility), garment "
        "mask and z_image.",
        (_GARMENT_NET, _CONDITION),
        (*_QUARTERS, _GARMENT_LANDMARKS, _GARMENT_MASK, _Z_IMAGE),
    ),
    Model(
        "generator", "onnx",
        "Fusion z = E^I(I) + E^T(T), generator G, and the composite at the window's own size: a "
        "patch of it, `patch_box` being x0, y0, x1, y1 in the window, outside which nothing "
        "changes. Where `patch_mask` is 0 the patch holds the window's own bytes.",
        (_WINDOW, _PLACEMENT, _VIEW, _POSE_MARKS, *_POSE_MAPS,
         *_QUARTERS, _GARMENT_LANDMARKS, _GARMENT_MASK, _Z_IMAGE, _Z_TEXT, _STYLING,
         _CONDITION, _GARMENT_NET, _CANVAS),
        (*_PATCH, _CONFIDENCE),
    ),
    Model(
        "paste", "python", "Lays the patch and its mask back into the photo.",
        (_PHOTO, *_PATCH, _BOX),
        (_t("picture", "uint8", -1, -1, 3), _t("mask", "uint8", -1, -1)),
    ),
)  # fmt: skip

ENSEMBLE_INPUTS = (_PERSON, _GARMENT, _PROMPT, _CATEGORY)
ENSEMBLE_OUTPUTS = (_t("picture", "uint8", -1, -1, 3), _t("mask", "uint8", -1, -1), _CONFIDENCE)
ENSEMBLE_STEPS = tuple(
    Step(model.name, {"condition": "asked"} if model.name == "text_encoder" else {})
    for model in MODELS
)
"""A step that may refuse a request has to run alone: Triton 2.51 never lets go of a request of
which one step fails beside another, and where the other was just being scheduled it answers twice,
which ends the server (of 1,376 pictures of nobody or of two people, one did). So the words wait for
`crop`. Every tensor has one name in the whole system, and no other step renames any."""

# ---- the wardrobe: garments and words that were encoded once ------------------------------------
WARDROBE_ADD, LIVE, WARDROBE = "wardrobe_add", "tryon_live", "wardrobe"
FOLLOW = "tryon_follow"

WARDROBE_MODELS: tuple[Model, ...] = (
    Model(
        "wardrobe_decode", "python",
        "Checks a garment and its words and names them: `new_id` is a hash of both, the category "
        "and the version of the networks that encode them. `frame_size` is the height and width "
        "of the frames to come, which choose the canvas. The rest is as `decode` has it.",
        (_GARMENT, _PROMPT, _CATEGORY, _FRAME_SIZE),
        (_CLOTH, _CANVAS_SIZE, _CONDITION, _IDS, _ATTENTION, _t("new_id", "bytes", 1)),
    ),
    Model(
        "wardrobe_keep", "python",
        "Keeps what E^T, E^I and `cutout` made of a garment; answers its ID once it is kept.",
        (_t("new_id", "bytes", 1), _PROMPT, *KEPT), (_GARMENT_ID,),
    ),
    Model(
        "live_decode", "python",
        "Checks and decodes a frame, as `decode` does, and finds the garment that is kept under "
        "an ID for frames of this size.",
        (_PERSON, _GARMENT_ID), (_PHOTO, _THUMBNAIL, *KEPT),
    ),
    Model(
        "live_crop", "python",
        "`crop` whose place is steadied by that of an earlier frame: `track` is that frame's "
        "`tracked` (hip centre, shoulder centre and body radius in 0..1 of the frame's longer "
        "side, and their speeds a second), `elapsed` the seconds since, 0 where there was none.",
        (_PHOTO, *_DETECTIONS, _CONDITION, *_TRACK),
        (_WINDOW, _VIEW, _BOX, _PLACEMENT, _TRACKED),
    ),
    Model(
        "predict_crop", "python",
        "Cuts out what the generator works on where an earlier frame's `track` says that the "
        "person is by now, so that nobody waits for the detector; from the middle of the photo "
        "where it says nothing. Like `update_track` it never refuses: it runs beside other steps.",
        (_PHOTO, _CONDITION, *_TRACK), (_WINDOW, _VIEW, _BOX, _PLACEMENT),
    ),
    Model(
        "update_track", "python",
        "`tracked` as `live_crop` answers it, of what the detector found meanwhile; zeros where "
        "the person is not there any more, and then the picture is not to be shown.",
        (_PHOTO, *_DETECTIONS, *_TRACK), (_TRACKED,),
    ),
    Model(
        WARDROBE, "python",
        "`action` list: a line of JSON for each kept garment (id, category, prompt, canvas, bytes, "
        "added), the newest first. `action` remove: the same of those that are gone now, which "
        "were kept under `garment_id`.",
        (_t("action", "bytes", 1), _GARMENT_ID), (_t("entries", "bytes", -1),),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Ensemble:
    """Served steps that are called as one model."""

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    steps: tuple[Step, ...]
    batch: int = MAX_BATCH_SIZE


def _steps(*names: str) -> tuple[Step, ...]:
    return tuple(Step(name) for name in names)


ENSEMBLES = (
    Ensemble(ENSEMBLE, ENSEMBLE_INPUTS, ENSEMBLE_OUTPUTS, ENSEMBLE_STEPS),
    Ensemble(
        WARDROBE_ADD, (_GARMENT, _PROMPT, _CATEGORY, _FRAME_SIZE), (_GARMENT_ID,),
        _steps("wardrobe_decode", "text_encoder", "cutout", "image_encoder", "wardrobe_keep"),
    ),
    Ensemble(
        LIVE, (_PERSON, _GARMENT_ID, *_TRACK), (*ENSEMBLE_OUTPUTS, _TRACKED, _POSE_MARKS),
        _steps("live_decode", "detector", "live_crop", "pose", "generator", "paste"),
    ),
    Ensemble(
        FOLLOW, (_PERSON, _GARMENT_ID, *_TRACK), (*ENSEMBLE_OUTPUTS, _TRACKED, _POSE_MARKS),
        _steps("live_decode", "predict_crop", "detector", "update_track", "pose", "generator",
               "paste"),
        1,  # of two frames `predict_crop` could cut windows of two sizes, and it may not refuse
    ),
)  # fmt: skip
SERVED = (*MODELS, *WARDROBE_MODELS)
"""Every model of a repository that is no ensemble."""


def model(name: str) -> Model:
    """The served model of that name. Raises KeyError naming those there are."""
    for candidate in SERVED:
        if candidate.name == name:
            return candidate
    raise KeyError(f"no served model {name!r}; there are {', '.join(m.name for m in SERVED)}")


def ensemble(name: str) -> Ensemble:
    """The ensemble of that name. Raises KeyError naming those there are."""
    for candidate in ENSEMBLES:
        if candidate.name == name:
            return candidate
    raise KeyError(f"no ensemble {name!r}; there are {', '.join(e.name for e in ENSEMBLES)}")

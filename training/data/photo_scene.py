"""Makes a scene of a photograph: its person in rendered garments, under the photo's own light.

What the new garment leaves free is the photo; what was under the old one is bare skin, rendered and
toned after the person's own, or backdrop; beneath an open jacket it is the photographed top. The
first outfit is what the person wears in the photo: it is never put on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.optimize import nnls

from training.data import wardrobe
from training.data.body_fit import BodyFit, Fitted
from training.data.drape import Wearer
from training.data.garments import HIP_Z, NECK_Z
from training.data.outfits import PHOTOGRAPHED
from training.data.photo_pose import random_turns, turned
from training.data.photographs import Photograph, people, photograph
from training.data.renderer import INNER, Layers, Light, View, perspective
from training.data.scene import (
    SCENE_KINDS,
    Worn,
    arrays_of,
    dressed_in,
    flow_truth,
    marks_truth,
    stylings_of,
)
from training.data.shards import CATEGORY_NAMES, RENDERER, is_test_name
from training.data.shop_render import shop_of
from training.data.studio import Creases, Item, Studio
from training.data.styling import AS_SHOWN
from training.data.surroundings import sky
from tryon.contract import LANDMARKS, NET_HEIGHT, NET_WIDTH, OLD_GARMENTS, PARSE, POSE_SIZE
from tryon.preprocess import anchors_from_joints, square_around, window_from_anchors
from tryon.steps.crop import resample

_HAIR, _FACE = PARSE.index("hair"), PARSE.index("face_neck")
_ARMS = [PARSE.index(n) for n in ("arm_left", "arm_right")]
_SKIN = [_FACE, *_ARMS, PARSE.index("leg_left"), PARSE.index("leg_right")]
_CLOTH = [PARSE.index(n) for n in ("upper", "lower")]
_FAR = 100.0
_TURNED = 0.75
"""Share of the scenes in another pose than the photo's."""
_FOLD = 7.0
"""Pixels of a scene's picture around a fold (standard deviation) whose light it is told from."""
_DEEPER = 1.8
"""How much deeper folds of other cloth look than those of white cloth, which is near full light."""
_SLEEVE = 0.03
"""Cloth at most so many metres behind an arm's skin is its sleeve."""


@dataclass
class Subject:
    """A photographed person, ready to be dressed.

    Attributes:
        photo, fitted: the photo and the body in it. wearer: that body.
        light: the photo's, as far as the plain clothes show it.
        skin: float64 (n, 3), colours of the body's vertices in 0..1, all alike.
    """

    photo: Photograph
    fitted: Fitted
    wearer: Wearer
    light: Light
    skin: np.ndarray


class Subjects:
    """The photographed people; each is fitted when first asked for."""

    def __init__(self, studio: Studio) -> None:
        self._studio = studio
        self._fit = BodyFit(studio)
        self._known: dict[str, Subject] = {}

    def __getitem__(self, path: str) -> Subject:
        """The person of a photo (of `photographs.PHOTOS`)."""
        if path not in self._known:
            self._known[path] = self._ready(photograph(path))
        return self._known[path]

    def turned(self, subject: Subject, turns: dict[str, tuple[float, float]]) -> Subject:
        """The person with turned arms (`photo_pose.random_turns`), light and skin the same."""
        photo, fitted = turned(self._studio, self._fit, subject.photo, subject.fitted, turns)
        wearer = Wearer(self._studio.template, fitted.shaped, fitted.transforms)
        return replace(subject, photo=photo, fitted=fitted, wearer=wearer)

    def _ready(self, photo: Photograph) -> Subject:
        studio = self._studio
        fitted = self._fit(photo)
        wearer = Wearer(studio.template, fitted.shaped, fitted.transforms)
        square = _square(photo, "dress")
        view = fitted.view(perspective(fitted.on_plane(square)))
        pixels, classes = _seen(photo, square)
        bare = _bare(studio, wearer, view, Light(np.array([0, 0, -1.0]), sky(1.0), 0.0, 0.0))
        on_body = np.isin(classes, _CLOTH) & (bare.layers.alpha == 255)
        light = _light(pixels, on_body, bare.normals)
        lit = _bare(studio, wearer, view, light).layers
        both = np.isin(classes, _SKIN) & np.isin(lit.parse, _SKIN)
        tone = pixels[both] / 255 / np.maximum(lit.shade[both] / 128, 0.2)[:, None]
        skin = np.tile(np.clip(np.median(tone, 0), 0.02, 1), (len(studio.template.body.rest), 1))
        return Subject(photo, fitted, wearer, light, skin)


@dataclass
class _Bare:
    """The body without clothes: its layers, and camera-axes normals float32 (h, w, 3)."""

    layers: Layers
    normals: np.ndarray


def _bare(
    studio: Studio, wearer: Wearer, view: View, light: Light, skin: np.ndarray | None = None
) -> _Bare:
    body = studio.template.body
    points = studio.model.skin(
        body.matrix @ wearer.shaped.vertices, body.weights, wearer.transforms
    )
    normals = body.normals(points) @ view.rotation.T
    studio.renderer.begin(POSE_SIZE, POSE_SIZE, view, light)
    studio.draw_person(wearer, None, normals / 2 + 0.5 if skin is None else skin, [], False)
    layers = studio.renderer.finish()
    return _Bare(layers, layers.albedo.astype(np.float32) / 127.5 - 1)


def _light(pixels: np.ndarray, cloth: np.ndarray, normals: np.ndarray) -> Light:
    """The light under which pale cloth, where there is a body below, looks as in the photo."""
    inner = cv2.erode(cloth.astype(np.uint8), np.ones((5, 5)))
    luma = cv2.GaussianBlur(pixels.astype(np.float32).mean(-1) / 255, (0, 0), 2)
    n, y = normals[inner > 0].astype(np.float64), luma[inner > 0] / 0.92
    n /= np.maximum(np.linalg.norm(n, axis=1, keepdims=True), 1e-6)
    best, light = np.inf, Light(np.array([0, -0.5, -0.87]), sky(0.6), 0.5, 0.3)
    for turn in np.radians(np.arange(-75, 76, 15)):
        for rise in np.radians(np.arange(10, 71, 15)):
            way = np.array([np.sin(turn) * np.cos(rise), -np.sin(rise),
                            -np.cos(turn) * np.cos(rise)])  # fmt: skip
            for wrap in (0.0, 0.25, 0.5):
                key = np.clip((n @ way + wrap) / (1 + wrap), 0, 1)
                found, error = nnls(np.stack([0.72 - 0.28 * n[:, 1], key], 1), y)
                if error < best and found[0] > 0.2:
                    best, light = error, Light(way, sky(float(found[0])), float(found[1]), wrap)
    return light


def _square(photo: Photograph, kind: str) -> np.ndarray:
    return square_around(window_from_anchors(*anchors_from_joints(photo.joints[:, :2]), kind))


def _seen(photo: Photograph, square: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The photo and its parse in a square, at the renderer's size."""
    step = (square[2] - square[0]) / POSE_SIZE
    at = np.array([[step, 0, square[0] + step / 2 - 0.5], [0, step, square[1] + step / 2 - 0.5]])
    classes = cv2.warpAffine(
        photo.classes, at, (POSE_SIZE, POSE_SIZE), flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    )
    return resample(photo.pixels, square, POSE_SIZE), classes


def make_photo_scene(
    studio: Studio, subjects: Subjects, seed: int, index: int, kind: str | None = None,
    outfits: int | None = None,
) -> dict[str, np.ndarray]:  # fmt: skip
    """The arrays of scene `index` of the set `seed` (see shards.Scene); always the same.

    Scenes of the test split show people whom no other scene shows.
    """
    rng = np.random.default_rng([seed, index, 2])
    paths = people("test" if is_test_name(seed, index) else "train")
    subject = subjects[paths[int(rng.integers(len(paths)))]]
    kind = kind or str(rng.choice(list(SCENE_KINDS), p=list(SCENE_KINDS.values())))
    outfits = outfits or int(rng.integers(5, 7))
    arms = "hanging"
    if rng.random() < _TURNED:
        arms = "turned"
        subject = subjects.turned(subject, random_turns(rng))
    photo, wearer = subject.photo, subject.wearer
    square = _square(photo, kind)
    side = square[2] - square[0]
    grown = side * np.exp(rng.uniform(np.log(0.85), np.log(1.25)))
    mid = (square[:2] + square[2:]) / 2 + rng.uniform(-0.08, 0.08, 2) * side
    square = np.concatenate([mid - grown / 2, mid + grown / 2])
    view = subject.fitted.view(perspective(subject.fitted.on_plane(square)))
    base = _Base(studio, subject, view, square)

    made: list[Item] = []
    plan: list[dict[str, int]] = []
    for o in range(outfits - 1):
        if kind == "dress" and o % 2:
            garments = [wardrobe.random_upper(rng), wardrobe.random_lower(rng, photo.gender)]
        elif kind == "dress":
            garments = [wardrobe.random_dress(rng)]
        elif kind == "upper":
            garments = [wardrobe.random_upper(rng)]
        else:
            garments = [wardrobe.random_lower(rng, photo.gender)]
        plan.append({g.cut.category: len(made) + i for i, g in enumerate(garments)})
        made += [Item(studio, g, rng) for g in garments]
    shops = [shop_of(studio, item, rng) for item in made]
    drapes = [wearer.drape(item.cut) for item in made]
    ways = stylings_of(np.random.default_rng([seed, index, 3]), kind, plan, made)
    # An open one comes over the photographed top.
    stylings = [AS_SHOWN, *(ways if kind == "upper" else (replace(w, gap=0.0) for w in ways))]
    creases = Creases.random(np.random.default_rng([seed, index, 5]))
    pictures = [base.as_photographed()]
    worn: list[Worn] = []
    canon = studio.template.body_canon
    # Forearms and hands are bare in the photo: rendered ones would stand beside them.
    trunk = (canon.arm < 0.5) & (canon.pos[:, 2] < NECK_Z) & (canon.pos[:, 2] > HIP_Z)
    forearms = (canon.arm > 0.5) & (canon.s_arm > studio.template.elbow)
    for o, outfit in enumerate(plan, 1):
        studio.renderer.begin(POSE_SIZE, POSE_SIZE, view, subject.light)
        items = dressed_in(studio, wearer, kind, outfit, made, shops, drapes, stylings[o])
        skin = subject.skin
        if stylings[o].gap:  # the edges of the opening are half of what is beneath
            skin = np.where(trunk[:, None], base.colour["upper"] / 255, skin)
        studio.draw_person(
            wearer, None, skin, list(items.values()), False, hidden=forearms,
            creases=creases,
        )  # fmt: skip
        layers, drawn = base.dressed(
            studio.renderer.finish(), OLD_GARMENTS[kind], stylings[o].gap > 0
        )
        pictures.append(layers)
        for name, (item, draped, shop) in items.items():
            flow, valid = flow_truth(layers, shop, item.code)
            marks = marks_truth(view, item, draped)
            worn.append((o, outfit[name], flow, valid * drawn.astype(np.uint8), marks))
    for item in made:
        item.release()
    # What is photographed comes last among the garments; who keeps a piece of it wears it too.
    own = {name: len(made) + i for i, name in enumerate(("upper", "lower"))}
    plan = [own, *({**{n: own[n] for n in own if n not in OLD_GARMENTS[kind]}, **p} for p in plan)]
    beneath = [own["upper"] if way.gap else -1 for way in stylings]
    for o, outfit in enumerate(plan):
        under = {"upper": beneath[o]} if beneath[o] >= 0 else {}
        for name, g in (*outfit.items(), *under.items()):
            if g in own.values():
                mine = (pictures[o].parse == PARSE.index(name)) & (pictures[o].code == 0)
                whole = pictures[0].parse == PARSE.index(name)
                flow = base.flow_of(whole) * mine[..., None]
                nothing = np.zeros((POSE_SIZE, POSE_SIZE), np.uint8)
                worn.append((o, g, flow, nothing, np.zeros((len(LANDMARKS), 3), np.float32)))
    meta = {
        "renderer": RENDERER, "kind": kind, "seed": seed, "index": index, "arms": arms,
        "legs": "standing", "yaw": 0.0, "gender": photo.gender, "person": photo.name,
        "hair": "photographed", "phone": None, "bag": None, "tucked": [False] * len(plan),
        "beneath": beneath,
        "stylings": [styling.words() for styling in stylings],
        "garments": [
            i.garment.attributes | {"shop_mode": s.mode} for i, s in zip(made, shops, strict=True)
        ] + [PHOTOGRAPHED[n] for n in own],
    }  # fmt: skip
    joints = (photo.joints[:, :2] - square[:2]) * (POSE_SIZE / grown)
    arrays = arrays_of(pictures, joints, plan, worn, made, shops, meta)
    return arrays | {
        name: np.concatenate([arrays[name], base.garments[name]]) for name in base.garments
    }


class _Base:
    """A photo in one view: what of it stays, whatever is put on."""

    def __init__(self, studio: Studio, subject: Subject, view: View, square: np.ndarray) -> None:
        photo = subject.photo
        self.pixels, self.classes = _seen(photo, square)
        person = ((photo.classes > 0) * np.uint8(255))[..., None].repeat(3, 2)
        self.alpha = resample(person, square, POSE_SIZE)[..., 0]
        bare = _bare(studio, subject.wearer, view, subject.light, subject.skin).layers
        self._renderer = studio.renderer
        self._depth = bare.fine_depth[::2, ::2].astype(np.float32)
        self.arm_depth = _arm_depth(bare)
        self.tone = self._tone(bare)
        self.colour = {
            name: np.median(photo.pixels[photo.classes == PARSE.index(name)], 0)
            for name in ("upper", "lower")
        }
        self.folds = self._folds()
        self.garments = {
            "garment_category": np.array([CATEGORY_NAMES.index(n) for n in self.colour], np.uint8),
            "garment_shop_albedo": np.stack([
                np.tile(c.astype(np.uint8), (NET_HEIGHT, NET_WIDTH, 1))
                for c in self.colour.values()
            ]),
            "garment_shop_shade": np.full((2, NET_HEIGHT, NET_WIDTH), 128, np.uint8),
            "garment_shop_alpha": np.full((2, NET_HEIGHT, NET_WIDTH), 255, np.uint8),
            "garment_shop_inner": np.zeros((2, NET_HEIGHT, NET_WIDTH), np.uint8),
            "garment_shop_person_alpha": np.full((2, NET_HEIGHT, NET_WIDTH), 255, np.uint8),
            "garment_shop_parse": np.stack([
                np.full((NET_HEIGHT, NET_WIDTH), PARSE.index(n), np.uint8) for n in self.colour
            ]),
            "garment_shop_landmarks": np.zeros((2, len(LANDMARKS), 3), np.float32),
            "garment_shop_worn": np.ones(2, np.uint8),
        }  # fmt: skip

    def _tone(self, bare: Layers) -> np.ndarray:
        """Gain (h, w, 3) from rendered skin to the photo's skin around."""
        both = np.isin(self.classes, _SKIN) & np.isin(bare.parse, _SKIN) & (self.alpha > 250)
        lit = _lit(bare)
        ratio = np.clip((self.pixels + 4.0) / (lit + 4.0), 0.4, 2.5) * both[..., None]
        total, weight = np.full((*both.shape, 3), 1e-3), np.full(both.shape, 1e-3)
        for sigma, share in ((4, 1.0), (16, 0.05), (48, 0.002)):
            total += share * cv2.GaussianBlur(ratio, (0, 0), sigma)
            weight += share * cv2.GaussianBlur(both.astype(np.float64), (0, 0), sigma)
        return total / weight[..., None]

    def as_photographed(self) -> Layers:
        """The photo's own outfit: its cloth's folds are light, its colour the cloth's."""
        albedo, shade = self._unlit()
        return self._layers(albedo * (self.alpha / 255.0)[..., None], shade, self.alpha,
                            self.classes)  # fmt: skip

    def _unlit(self) -> tuple[np.ndarray, np.ndarray]:
        """The photo's colours (h, w, 3) and light (h, w), 128 for 1, told apart on cloth alone."""
        albedo, shade = self.pixels.astype(np.float64), np.full(self.classes.shape, 128.0)
        for name, colour in self.colour.items():
            mine = self.classes == PARSE.index(name)
            light = self.pixels[mine].mean(-1) / max(float(colour.mean()), 1)
            shade[mine] = 128 * np.clip(light, 0, 1.95)
            albedo[mine] = np.clip(albedo[mine] / np.maximum(light, 0.05)[:, None], 0, 255)
        return albedo, shade

    def _folds(self) -> np.ndarray:
        """Gain (h, w) of the photographed cloth's folds: its light beside that around; 1 elsewhere.

        New garments are given them: what somebody wears folds where the pose folds it.
        """
        light, gain = self._unlit()[1], np.ones(self.classes.shape)
        for name in self.colour:
            mine = cv2.erode((self.classes == PARSE.index(name)).astype(np.uint8), np.ones((3, 3)))
            mine = mine.astype(np.float64)
            around = cv2.GaussianBlur(light * mine, (0, 0), _FOLD)
            around = around / np.maximum(cv2.GaussianBlur(mine, (0, 0), _FOLD), 1e-3)
            fold = _DEEPER * (light / np.maximum(around, 1) - 1)
            gain += cv2.GaussianBlur(mine, (0, 0), 1) * mine * np.clip(fold, -0.4, 0.4)
        return gain

    def dressed(
        self, new: Layers, replaced: tuple[str, ...], opened: bool = False
    ) -> tuple[Layers, np.ndarray]:
        """The photo with what was rendered of the new garments over it, and bool (h, w) where they
        are seen; `opened`: the photo's own top stays where its wearer's trunk would be bare."""
        classes = self.classes
        own = np.isin(classes, [PARSE.index(n) for n in replaced if n != "dress"])
        kept = np.isin(classes, _CLOTH) & ~own

        def with_rim(cloth: np.ndarray) -> np.ndarray:
            """The photo's rim of the old cloth is half cloth; not beside cloth that stays."""
            rim = cv2.dilate(cloth.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
            return (rim & ~kept & (classes != _HAIR) & ~(own & ~cloth)) | cloth

        old = with_rim(own)
        depth = new.fine_depth[::2, ::2]
        front = (classes == _HAIR) | (kept & np.isin(classes, [PARSE.index("upper")]))
        front |= np.isin(classes, _ARMS) & (depth > self.arm_depth + _SLEEVE) & ~old
        front |= (classes == _FACE) & (new.code >= INNER)
        if opened:
            front |= (classes == PARSE.index("upper")) & (new.code >= INNER)
        drawn = (new.code > 0) & ~front
        beneath = np.zeros_like(drawn)
        if opened:
            trunk = np.isin(new.parse, [s for s in _SKIN if s not in _ARMS]) | (new.code >= INNER)
            beneath = ~drawn & trunk & (classes == PARSE.index("upper"))
            old = with_rim(own & ~beneath)
        skin = ~drawn & old & np.isin(new.parse, _SKIN)
        stays = ~drawn & ~old
        alpha = np.where(stays, self.alpha, 0).astype(np.float64)
        shadow = self._shadow(depth, classes, beneath)
        # Cloth that stays has the colours and the light that it has in the photo's own outfit.
        pixels, light = self._unlit()
        albedo = pixels * (alpha / 255 * shadow)[..., None]
        cloth_light = new.shade * self.folds
        parse = np.where(stays, classes, 0).astype(np.uint8)
        toned = np.clip(_lit(new) * self.tone, 0, 255)
        albedo[skin], alpha[skin], parse[skin] = toned[skin], new.alpha[skin], new.parse[skin]
        rest = (1 - new.alpha[drawn] / 255.0) * (self.alpha[drawn] / 255.0) * ~old[drawn]
        # The photo's share of a rim is lit already, and will be lit as the garment is.
        again = shadow[drawn] / np.maximum(cloth_light[drawn] / 128, 0.05)
        albedo[drawn] = new.albedo[drawn] + (rest * again)[:, None] * self.pixels[drawn]
        alpha[drawn] = new.alpha[drawn] + 255 * rest
        parse[drawn] = new.parse[drawn]
        shade = np.where(drawn, cloth_light, np.where(skin, 128, light))
        layers = self._layers(albedo, shade, alpha, parse)
        layers.code, layers.flow = np.where(drawn, new.code, 0).astype(np.uint8), new.flow
        layers.shop_depth = new.shop_depth
        return layers, drawn

    def _shadow(self, depth: np.ndarray, classes: np.ndarray, beneath: np.ndarray) -> np.ndarray:
        """Gain (h, w) of the photo's bare skin beside new garments, and of the top beneath an open
        one: what they keep from the light beyond what the body itself does."""
        alone = self._depth
        both = np.where(depth > 0, np.where(alone > 0, np.minimum(alone, depth), depth), alone)
        gain = self._renderer.occlusion(both) / self._renderer.occlusion(alone)
        limbs = np.isin(classes, _SKIN) & (classes != _FACE) | beneath
        return np.where(limbs, np.clip(gain, 0.5, 1), 1)

    def flow_of(self, mask: np.ndarray) -> np.ndarray:
        """Flow float16 (h, w, 2) of photographed cloth: flat, over the whole in-shop picture."""
        x, y, w, h = cv2.boundingRect(mask.astype(np.uint8))
        at = np.mgrid[0:POSE_SIZE, 0:POSE_SIZE][::-1].transpose(1, 2, 0)
        flow = (at + 0.5 - [x, y]) / [max(w, 1), max(h, 1)]
        return np.where(mask[..., None], np.clip(flow, 0, 1), 0).astype(np.float16)

    @staticmethod
    def _layers(
        albedo: np.ndarray, shade: np.ndarray, alpha: np.ndarray, parse: np.ndarray
    ) -> Layers:
        def whole(x: np.ndarray) -> np.ndarray:
            return np.clip(np.rint(x), 0, 255).astype(np.uint8)

        nothing = np.zeros(parse.shape, np.float32)
        return Layers(
            whole(albedo), whole(shade), whole(alpha), parse.astype(np.uint8),
            nothing.astype(np.uint8), np.zeros((*parse.shape, 2), np.float32), nothing,
            nothing.astype(np.uint8), nothing,
        )  # fmt: skip


def _lit(layers: Layers) -> np.ndarray:
    """float64 (h, w, 3) in 0..255, not limited."""
    return layers.albedo * (layers.shade / 128.0)[..., None]


def _arm_depth(bare: Layers) -> np.ndarray:
    """How far the arms' skin is, a few pixels beyond them too; far away elsewhere."""
    depth = bare.fine_depth[::2, ::2].astype(np.float32)
    arms = np.isin(bare.parse, _ARMS) & (depth > 0)
    apart, (y, x) = distance_transform_edt(~arms, return_indices=True)
    return np.where(apart < 5, depth[y, x], _FAR).astype(np.float32)

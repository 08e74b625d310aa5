"""Draws random garments: their cut, their fabric, and the words that describe both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from training.data import fabric as fab
from training.data.garments import SHOULDER_LINE_Z, Cut
from training.data.prints import draw_print
from training.data.sewn import draw_details

_DENIM = {"navy": 3.0, "blue": 3.0, "light blue": 3.0, "black": 2.0, "dark grey": 1.0}
_DENIM_RGB = {
    "navy": (44, 54, 84),
    "blue": (74, 102, 146),
    "light blue": (140, 168, 200),
    "black": (38, 39, 43),
    "dark grey": (82, 84, 90),
}
_SUITING = ("navy", "navy", "black", "black", "dark grey", "dark grey", "grey", "beige", "brown")
"""Colours of most blazers."""
_LOWER = {
    "black": 6.0,
    "navy": 3.0,
    "grey": 2.0,
    "dark grey": 2.5,
    "beige": 2.0,
    "khaki": 1.5,
    "white": 1.2,
    "olive": 1.2,
    "brown": 1.0,
    "burgundy": 0.5,
    "light grey": 1.0,
    "red": 0.5,
    "green": 0.5,
    "pink": 0.6,
    "cream": 0.6,
}


@dataclass
class Garment:
    """A garment: `cut` (shape), `fabric` and `attributes` (words, see `describe`)."""

    cut: Cut
    fabric: fab.Fabric
    attributes: dict[str, str]
    texture: str
    ribs_second: bool = False


def _pattern(rng: np.random.Generator, prints: bool) -> str:
    table = {
        "plain": 0.45,
        "horizontal stripes": 0.11,
        "vertical stripes": 0.05,
        "checks": 0.08,
        "dots": 0.05,
        "floral": 0.08,
        "logo": 0.10,
        "lettering": 0.08,
    }
    if not prints:
        table.pop("logo")
        table.pop("lettering")
    p = np.array(list(table.values()))
    return str(rng.choice(list(table), p=p / p.sum()))


def _fabric(
    rng: np.random.Generator,
    pattern: str,
    colour: str,
    rgb: np.ndarray,
    texture: str,
    detail: str,
    cut: Cut,
) -> fab.Fabric:
    least = 70 if pattern in ("logo", "lettering") else 45
    second = fab.contrasting(rng, rgb, least)
    second_rgb = fab.jitter(rng, second)
    others = [second_rgb] + [fab.jitter(rng, fab.contrasting(rng, rgb, 40)) for _ in range(3)]
    tile, tile_m = fab.make_tile(rng, pattern, rgb, others, texture)
    atlas = fab.tile_atlas(tile, tile_m)
    label = ""
    if pattern in ("logo", "lettering"):
        atlas, label = draw_print(rng, atlas, pattern, rgb, second_rgb)
    if detail:
        atlas = draw_details(
            rng, atlas, detail, rgb, second_rgb, SHOULDER_LINE_Z - cut.neck_depth,
            cut.neck_width, cut.stand,
        )  # fmt: skip
    return fab.Fabric(
        tile,
        tile_m,
        atlas,
        colour,
        second if pattern != "plain" else "",
        rgb,
        second_rgb,
        pattern,
        label,
    )


def _stand_collar(
    rng: np.random.Generator, cut: Cut, height: tuple[float, float], drop: tuple[float, float]
) -> None:
    """Makes the collar stand round the neck: buttoned up, open to a slit, or wide open.

    `height`: of the collar behind, metres; `drop`: by how much of it it is lower before, which is
    what its inner back shows in an in-shop picture.
    """
    cut.collar, cut.neck, cut.stand = True, "collar", float(rng.uniform(*height))
    way = str(rng.choice(["buttoned", "slit", "wide"], p=[0.38, 0.22, 0.4]))
    if way == "buttoned":
        cut.neck_depth, cut.neck_width = -cut.stand, 0.002
    elif way == "slit":
        cut.neck_depth = float(rng.uniform(-0.8 * cut.stand, 0.07))
        cut.neck_width = float(rng.uniform(0.004, 0.02) + 0.3 * max(cut.neck_depth, 0))
    else:
        cut.neck_depth = float(rng.uniform(0.03, 0.11))
        cut.neck_width = float(rng.uniform(0.03, 0.065))
    cut.stand_drop = float(cut.stand * rng.uniform(*drop))


def _fit(ease: float, limits: tuple[float, float]) -> str:
    return "tight" if ease < limits[0] else "loose" if ease > limits[1] else "regular"


def random_upper(rng: np.random.Generator) -> Garment:
    """A random top."""
    kind = str(
        rng.choice(
            [
                "t-shirt",
                "shirt",
                "polo",
                "long-sleeve top",
                "tank top",
                "sweater",
                "hoodie",
                "jacket",
            ],
            p=[0.27, 0.17, 0.05, 0.12, 0.09, 0.11, 0.08, 0.11],
        )
    )
    blazer = kind == "jacket" and rng.random() < 0.45
    fit = str(rng.choice(["tight", "regular", "loose"], p=[0.25, 0.45, 0.3]))
    i = ("tight", "regular", "loose").index(fit)
    cut = Cut("upper")
    cut.ease = float(
        (rng.uniform(0, 0.004), rng.uniform(0.004, 0.014), rng.uniform(0.015, 0.032))[i]
    )
    cut.taper = float((rng.uniform(0.7, 1.0), rng.uniform(0.2, 0.5), rng.uniform(0, 0.15))[i])
    cut.sleeve_ease = float(
        (rng.uniform(0, 0.002), rng.uniform(0.003, 0.01), rng.uniform(0.01, 0.028))[i]
    )
    cut.hem = float(
        rng.choice(
            [rng.uniform(0.105, 0.17), rng.uniform(0.26, 0.36), rng.uniform(0.086, 0.10)],
            p=[0.72, 0.13, 0.15],
        )
    )
    cut.neck = str(rng.choice(["crew", "V", "scoop", "high"], p=[0.58, 0.18, 0.2, 0.04]))
    cut.phase = float(rng.uniform(0, 6))
    cut.sleeve = float(rng.choice([rng.uniform(0.10, 0.2), rng.uniform(0.2, 0.28)], p=[0.55, 0.45]))
    detail, texture = "t-shirt", str(rng.choice(["", "", "melange"]))
    prints = True
    long = float(rng.uniform(0.48, 0.545))
    elbow_long = float(rng.uniform(0.30, 0.40))
    if kind == "long-sleeve top":
        cut.sleeve = long if rng.random() < 0.75 else elbow_long
    elif kind == "tank top":
        cut.sleeve, cut.armhole = -1.0, float(rng.uniform(0.16, 0.45))
        cut.neck = str(rng.choice(["scoop", "V", "crew"], p=[0.6, 0.2, 0.2]))
        cut.rib_cuff = 0.01
        detail = ""
    elif kind in ("shirt", "polo"):
        cut.neck, cut.collar, detail = "collar", True, kind
        if kind == "shirt":
            cut.sleeve = long if rng.random() < 0.65 else cut.sleeve
            prints = False
            cut.rib_cuff = 0.05 if cut.sleeve > 0.45 else 0.02
            cut.hem_curve = float(rng.choice([0.0, 0.02, 0.03]))
            texture = str(rng.choice(["", "denim"], p=[0.88, 0.12]))
    elif kind == "sweater":
        cut.sleeve, texture, detail = long, str(rng.choice(["knit", "melange"])), ""
        cut.neck = str(rng.choice(["crew", "V", "high"], p=[0.6, 0.2, 0.2]))
        cut.thickness, cut.rib_neck, cut.rib_cuff, cut.rib_hem = 0.011, 0.025, 0.05, 0.05
        cut.sleeve_ease += 0.003
    elif kind == "hoodie":
        cut.sleeve, cut.hood, cut.neck = long, True, "crew"
        detail = "hoodie" if rng.random() < 0.6 else "zip hoodie"
        cut.thickness, cut.rib_cuff, cut.rib_hem = 0.012, 0.06, 0.06
        cut.sleeve_ease += 0.005
        cut.ease += 0.01
    elif kind == "jacket" and blazer:
        cut.sleeve, cut.neck, cut.collar, detail = long, "collar", True, "blazer"
        cut.thickness, cut.rib_hem, cut.rib_cuff = 0.011, 0.0, 0.0
        cut.sleeve_ease += 0.003
        cut.ease += 0.004
        cut.hem = float(rng.uniform(0.086, 0.13))
        prints = False
        texture = str(rng.choice(["", "melange"], p=[0.75, 0.25]))
    elif kind == "jacket":
        cut.sleeve, cut.neck, cut.collar, detail = long, "collar", True, "jacket"
        cut.thickness, cut.rib_hem, cut.rib_cuff = 0.013, 0.05, 0.05
        cut.sleeve_ease += 0.004
        cut.ease += 0.006
        prints = False
        texture = str(rng.choice(["denim", "", "knit"], p=[0.4, 0.4, 0.2]))
    depth = {
        "crew": (0.035, 0.06),
        "V": (0.09, 0.17),
        "scoop": (0.08, 0.15),
        "collar": (0.05, 0.085),
        "high": (0.03, 0.085),
    }[cut.neck]
    cut.neck_depth = float(rng.uniform(*depth))
    cut.neck_width = float(
        rng.uniform(0.09, 0.125) if cut.neck == "scoop" else rng.uniform(0.072, 0.09)
    )
    if kind == "tank top":
        cut.back_depth = float(rng.uniform(0, 0.06))
    collars = rng.spawn(1)[0]  # numbers of their own: other garments are the same with and without
    if kind == "sweater" and cut.neck in ("V", "crew") and collars.random() < 0.3:
        kind = detail = "cardigan"
    cut.fastened = detail in ("shirt", "jacket", "blazer", "cardigan", "zip hoodie")
    if detail == "blazer":
        cut.stand = float(collars.uniform(0.015, 0.03))
        cut.stand_drop = float(cut.stand * collars.uniform(0.8, 1.6))
        cut.neck_depth = float(collars.uniform(0.15, 0.27))
        cut.neck_width = float(collars.uniform(0.045, 0.07))
    elif cut.collar and collars.random() < 0.85:
        _stand_collar(collars, cut, (0.03, 0.065), (0.5, 1.0))
    elif kind == "sweater" and collars.random() < 0.35:
        _stand_collar(collars, cut, (0.04, 0.07), (0.3, 0.9))
        detail = "quarter zip"
    pattern = _pattern(rng, prints)
    if detail == "blazer" and collars.random() < 0.7:
        pattern = "plain"
        colour = str(collars.choice(_SUITING))
        rgb = fab.jitter(rng, colour)
    elif texture == "denim":
        colour = fab.pick_colour(rng, _DENIM)
        rgb, pattern = np.array(_DENIM_RGB[colour], float) * rng.uniform(0.92, 1.1), "plain"
    else:
        colour = fab.pick_colour(rng)
        rgb = fab.jitter(rng, colour)
    made = _fabric(rng, pattern, colour, rgb, texture, detail, cut)
    sleeve = (
        "sleeveless"
        if cut.sleeve < 0
        else "short"
        if cut.sleeve < 0.265
        else "elbow"
        if cut.sleeve < 0.44
        else "long"
    )
    length = "cropped" if cut.hem > 0.22 else "long" if cut.hem < 0.102 else "regular"
    words = {
        "category": "upper",
        "kind": "shirt" if kind == "polo" else kind,
        "sleeve": sleeve,
        "neck": cut.neck,
        "fit": fit,
        "length": length,
    }
    if texture == "denim":
        words["material"] = "denim"
    if kind in ("sweater", "cardigan"):
        words["material"] = "knitted"
    garment = Garment(
        cut,
        made,
        words,
        texture,
        bool(kind in ("t-shirt", "polo", "sweater") and rng.random() < 0.12),
    )
    return describe(rng, garment)


def random_lower(rng: np.random.Generator, gender: float = 1.0) -> Garment:
    """Random trousers, shorts, leggings or a skirt; men (gender below 0.5) rarely get skirts."""
    chances = np.array([0.24, 0.25, 0.18, 0.09, 0.24])
    if gender < 0.5:
        chances[3:] *= 0.12
    kinds = ["trousers", "jeans", "shorts", "leggings", "skirt"]
    kind = str(rng.choice(kinds, p=chances / chances.sum()))
    cut = Cut("lower", waist=float(rng.uniform(0.235, 0.335)), thickness=0.004)
    cut.rib_neck = cut.rib_cuff = 0.0
    cut.rib_hem = float(rng.choice([0.035, 0.045, 0.06]))
    fit = str(rng.choice(["tight", "regular", "loose"], p=[0.35, 0.4, 0.25]))
    i = ("tight", "regular", "loose").index(fit)
    cut.leg_ease = float((0.001, rng.uniform(0.004, 0.012), rng.uniform(0.014, 0.03))[i])
    cut.leg = float(rng.uniform(0.80, 0.895))
    texture, detail, pattern, length = "", "trousers", "plain", "long"
    colour = fab.pick_colour(rng, _LOWER if rng.random() < 0.8 else None)
    rgb = fab.jitter(rng, colour)
    if kind == "jeans" or (kind in ("shorts", "skirt") and rng.random() < 0.3):
        texture = "denim"
        colour = fab.pick_colour(rng, _DENIM)
        rgb = np.array(_DENIM_RGB[colour], float) * rng.uniform(0.9, 1.12)
    if kind in ("trousers", "shorts", "skirt") and not texture and rng.random() < 0.3:
        pattern = str(
            rng.choice(["vertical stripes", "checks", "floral", "dots", "horizontal stripes"])
        )
    if kind in ("trousers", "jeans") and fit != "tight":
        cut.flare = float(rng.choice([0.0, 0.0, rng.uniform(0.01, 0.05)]))
    if kind == "shorts":
        cut.leg = float(rng.uniform(0.16, 0.44))
        cut.leg_ease = float(rng.uniform(0.003, 0.03))
        fit = _fit(cut.leg_ease, (0.008, 0.02))
        length = "short" if cut.leg < 0.34 else "knee"
    elif kind == "leggings":
        cut.leg_ease, cut.thickness, fit, detail = 0.0, 0.003, "tight", ""
        if rng.random() < 0.25:
            cut.leg = float(rng.uniform(0.46, 0.7))
    elif kind == "skirt":
        cut.join = cut.waist - 0.012
        cut.leg_ease = float((0.003, 0.012, 0.025)[i])
        cut.flare = float((0.0, rng.uniform(0.03, 0.14), rng.uniform(0.15, 0.35))[i])
        cut.taper = float((0.45, 0.1, 0.0)[i])
        cut.folds = float((0.0, rng.uniform(0, 0.04), rng.uniform(0.03, 0.10))[i])
        cut.phase = float(rng.uniform(0, 6))
        length = str(rng.choice(["short", "knee", "long"], p=[0.4, 0.35, 0.25]))
        cut.hem = {
            "short": rng.uniform(-0.20, -0.06),
            "knee": rng.uniform(-0.38, -0.24),
            "long": rng.uniform(-0.70, -0.45),
        }[length]
        detail = ""
    made = _fabric(rng, pattern, colour, rgb, texture, detail, cut)
    words = {
        "category": "lower",
        "kind": "trousers" if kind == "jeans" else kind,
        "sleeve": "",
        "neck": "",
        "fit": fit,
        "length": length,
    }
    if texture == "denim":
        words["material"] = "denim"
    return describe(rng, Garment(cut, made, words, texture))


def random_dress(rng: np.random.Generator) -> Garment:
    """A random dress."""
    fit = str(rng.choice(["tight", "regular", "loose"], p=[0.3, 0.4, 0.3]))
    i = ("tight", "regular", "loose").index(fit)
    cut = Cut("dress", join=float(rng.uniform(0.24, 0.33)))
    cut.ease = float((0.001, rng.uniform(0.002, 0.008), rng.uniform(0.01, 0.025))[i])
    cut.taper = float((0.9, rng.uniform(0.5, 0.9), rng.uniform(0, 0.3))[i])
    cut.sleeve_ease = float((0.001, rng.uniform(0.003, 0.01), rng.uniform(0.01, 0.024))[i])
    sleeve = str(rng.choice(["sleeveless", "short", "elbow", "long"], p=[0.42, 0.33, 0.08, 0.17]))
    cut.sleeve = {
        "sleeveless": -1.0,
        "short": rng.uniform(0.10, 0.25),
        "elbow": rng.uniform(0.30, 0.4),
        "long": rng.uniform(0.47, 0.54),
    }[sleeve]
    cut.armhole = float(rng.uniform(0.18, 0.5))
    cut.neck = str(
        rng.choice(["crew", "V", "scoop", "collar", "high"], p=[0.3, 0.27, 0.3, 0.1, 0.03])
    )
    depth = {
        "crew": (0.035, 0.06),
        "V": (0.09, 0.16),
        "scoop": (0.08, 0.14),
        "collar": (0.05, 0.085),
        "high": (0.03, 0.07),
    }[cut.neck]
    cut.neck_depth = float(rng.uniform(*depth))
    cut.neck_width = float(rng.uniform(0.075, 0.115))
    cut.collar = cut.neck == "collar"
    cut.leg_ease = float((0.002, 0.008, 0.02)[i])
    cut.flare = float((0.0, rng.uniform(0.05, 0.2), rng.uniform(0.12, 0.3))[i])
    cut.folds = float((0.0, rng.uniform(0, 0.04), rng.uniform(0.03, 0.09))[i])
    cut.phase = float(rng.uniform(0, 6))
    length = str(rng.choice(["short", "knee", "long"], p=[0.35, 0.4, 0.25]))
    cut.hem = float(
        {
            "short": rng.uniform(-0.20, -0.08),
            "knee": rng.uniform(-0.40, -0.24),
            "long": rng.uniform(-0.70, -0.45),
        }[length]
    )
    cut.rib_hem = 0.01
    pattern = _pattern(rng, prints=rng.random() < 0.2)
    if pattern == "plain" and rng.random() < 0.25:
        pattern = "floral"
    colour = fab.pick_colour(rng)
    texture = str(rng.choice(["", "", "", "knit", "melange"]))
    made = _fabric(
        rng, pattern, colour, fab.jitter(rng, colour), texture, "shirt" if cut.collar else "", cut
    )
    words = {
        "category": "dress",
        "kind": "dress",
        "sleeve": sleeve,
        "neck": cut.neck,
        "fit": fit,
        "length": length,
    }
    return describe(rng, Garment(cut, made, words, texture))


def describe(rng: np.random.Generator, garment: Garment) -> Garment:
    """Completes the attributes: colour, second_colour, pattern, print and a caption."""
    a, f = garment.attributes, garment.fabric
    a |= {"colour": f.colour, "second_colour": f.second, "pattern": f.pattern, "print": f.print}
    a.setdefault("material", "")
    r = rng.random
    adjectives = []
    if a["fit"] != "regular" and r() < 0.5:
        adjectives.append(
            str(
                rng.choice(
                    {
                        "tight": ["tight", "slim", "fitted"],
                        "loose": ["loose", "baggy", "oversized", "wide"],
                    }[a["fit"]]
                )
            )
        )
    if a["length"] in ("cropped", "short", "long") and r() < 0.5:
        if a["length"] != "short" or a["kind"] != "shorts":
            adjectives.append(a["length"])
    colour = a["colour"]
    if f.second and "stripes" in f.pattern and r() < 0.5:
        colour = f"{colour} and {f.second}"
    adjectives.append(colour)
    tail = []
    style = {
        "horizontal stripes": "striped",
        "vertical stripes": "striped",
        "checks": str(rng.choice(["checked", "plaid", "chequered"])),
        "dots": str(rng.choice(["dotted", "polka dot", "spotted"])),
        "floral": str(rng.choice(["floral", "flowered"])),
    }.get(f.pattern, "")
    if style:
        if r() < 0.6:
            adjectives.append(style)
        else:
            tail.append(
                "with "
                + {
                    "horizontal stripes": "horizontal stripes",
                    "vertical stripes": "vertical stripes",
                    "checks": "checks",
                    "dots": "dots",
                    "floral": "a flower print",
                }[f.pattern]
            )
    elif f.pattern == "plain" and r() < 0.2:
        adjectives.insert(0, "plain")
    elif f.pattern == "logo":
        tail.append(str(rng.choice(["with a logo", "with a print", f"with a {f.second} logo"])))
    elif f.pattern == "lettering":
        tail.append(
            str(
                rng.choice(
                    ["with lettering", f"that says {f.print.lower()}", f"with {f.second} text"]
                )
            )
        )
    if a["material"]:
        adjectives.append(a["material"])
    noun = a["kind"]
    if noun == "trousers" and a["material"] == "denim" and r() < 0.7:
        noun = "jeans"
        adjectives.remove("denim")
    elif noun == "trousers" and r() < 0.3:
        noun = "pants"
    elif noun == "t-shirt" and r() < 0.2:
        noun = "tee"
    if a["sleeve"] and r() < 0.55 and noun != "tank top":
        words = {
            "sleeveless": "without sleeves",
            "short": "with short sleeves",
            "elbow": "with elbow-length sleeves",
            "long": "with long sleeves",
        }[a["sleeve"]]
        if not (noun.startswith("long") or a["kind"] in ("hoodie", "jacket")):
            tail.append(words)
    if a["neck"] in ("V", "scoop", "high", "collar") and r() < 0.45:
        tail.append(
            {
                "V": "with a V neck",
                "scoop": "with a scoop neck",
                "high": "with a high neck",
                "collar": "with a collar",
            }[a["neck"]]
        )
    rng.shuffle(tail)
    sentence = " ".join(
        [*adjectives, noun] + [" and ".join(tail).replace("and with", "and")]
    ).strip()
    plural = noun in ("trousers", "jeans", "pants", "shorts", "leggings")
    if not plural and r() < 0.75:
        article = "an" if sentence[0] in "aeiou" else "a"
        sentence = f"{article} {sentence}"
    elif plural and r() < 0.2:
        sentence = f"a pair of {sentence}"
    a["caption"] = sentence
    return garment

"""Draws triangles to several targets with OpenGL on the CPU (EGL, llvmpipe)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np

from training.data.surroundings import random_surroundings, sky

os.environ.setdefault("LP_NUM_THREADS", "1")

SUPERSAMPLE = 2
INNER = 8
"""Added to a garment's code where its inside is seen."""

_COMMON = """
#version 330
uniform vec3 light; uniform mat4 around; uniform float key; uniform float wrap;
layout(location=0) out vec4 o_albedo;
layout(location=1) out vec4 o_shade;
layout(location=2) out vec4 o_flow;
float lit(vec3 n) {
  float d = clamp((dot(n, light) + wrap) / (1.0 + wrap), 0.0, 1.0);
  vec4 m = vec4(n, 1.0);
  return max(dot(m, around * m), 0.0) + key * d;
}
"""

_SKIN_VERTEX = """
#version 330
uniform mat4 projection;
in vec3 pos; in vec3 nrm; in vec3 col; in vec4 part;
out vec3 p; out vec3 n; out vec3 c; out vec4 q;
void main() { p = pos; n = nrm; c = col; q = part; gl_Position = projection * vec4(pos, 1.0); }
"""

_SKIN_FRAGMENT = (
    _COMMON
    + """
uniform float kind; uniform vec3 eye;
in vec3 p; in vec3 n; in vec3 c; in vec4 q;
void main() {
  if (q.w < 0.0) discard;
  vec3 m = normalize(n);
  vec3 view = eye.z > 0.5 ? vec3(0.0, 0.0, -1.0) : normalize(-p);
  float facing = dot(m, view);
  if (facing < 0.0) m = -m;
  float cls = kind;
  if (kind < 0.0) {
    float right = q.z > 0.0 ? 0.0 : 1.0;
    cls = q.x > 0.5 ? 3.0 + right : q.y > 0.5 ? 5.0 + right : 2.0;
  }
  float l = lit(m) * mix(0.86, 1.0, clamp(abs(facing) * 2.0, 0.0, 1.0));
  o_albedo = vec4(c, 1.0);
  o_shade = vec4(clamp(l * 128.0 / 255.0, 0.0, 1.0), cls / 255.0, 0.0, 1.0);
  o_flow = vec4(0.0, 0.0, 0.0, p.z);
}
"""
)

_CLOTH_VERTEX = """
#version 330
uniform mat4 projection;
in vec3 pos; in vec3 nrm; in vec3 shop; in vec4 a; in vec4 b; in vec4 d;
out vec3 p; out vec3 n; out vec3 s; out vec4 va; out vec4 vb; out vec4 vd;
void main() {
  p = pos; n = nrm; s = shop; va = a; vb = b; vd = d;
  gl_Position = projection * vec4(pos, 1.0);
}
"""

_CLOTH_FRAGMENT = (
    _COMMON
    + """
uniform mat4 shop_projection; uniform sampler2D tile; uniform sampler2D atlas;
uniform sampler2D wrinkle;
uniform float tile_m; uniform vec4 atlas_box; uniform vec2 lod; uniform vec3 ribs;
uniform vec4 rib_colour; uniform float cls; uniform float code; uniform vec3 eye;
uniform vec2 wave; uniform vec2 shift; uniform float rib_lines;
uniform vec4 lining; uniform float inner_light; uniform vec4 label; uniform vec3 label_colour;
in vec3 p; in vec3 n; in vec3 s; in vec4 va; in vec4 vb; in vec4 vd;
// a: u, v, side, limb; b: limb u, hem, neck, cuff; d: cover, fold across, fold down, along limb
void main() {
  float edge = min(min(vb.y, vb.z), vb.w);
  if (edge < 0.0 || vd.x > 0.006) discard;
  float side = va.z < 0.0 ? -1.0 : 1.0;
  vec2 uv_limb = vec2(vb.x * side, -va.y) / tile_m;
  vec2 uv_torso = vec2((side * va.x + atlas_box.x) / (2.0 * atlas_box.x),
                       (atlas_box.z - va.y) / (atlas_box.z - atlas_box.y));
  vec3 colour = va.w > 0.5 ? textureLod(tile, uv_limb, lod.x).rgb
                           : textureLod(atlas, uv_torso, lod.y).rgb;
  float rib = max(max(step(vb.y, ribs.x), step(vb.z, ribs.y)), step(vb.w, ribs.z));
  float seam = max(max(1.0 - abs(vb.y - ribs.x) / 0.002, 1.0 - abs(vb.z - ribs.y) / 0.002),
                   1.0 - abs(vb.w - ribs.z) / 0.002);
  if (rib > 0.5) {
    colour = mix(colour, rib_colour.rgb, rib_colour.a);
    float u = va.w > 0.5 ? vb.x : va.x;
    colour *= 0.97 + 0.06 * rib_lines * sin(u * 900.0);
  }
  colour *= 1.0 - 0.22 * clamp(seam, 0.0, 1.0);
  colour *= 1.0 - 0.28 * (1.0 - smoothstep(0.0, 0.0035, edge));
  vec3 m = normalize(n);
  vec3 view = eye.z > 0.5 ? vec3(0.0, 0.0, -1.0) : normalize(-p);
  bool inner = dot(m, view) < 0.0;
  if (inner) {
    m = -m;
    colour = mix(colour, lining.rgb, va.y < label.z + 0.01 ? lining.a : 0.0);
    // label: half its width, its lower and upper edge, whether there is one
    bool sewn = label.w > 0.5 && abs(va.z) < label.x && va.y > label.y && va.y < label.z;
    if (sewn && va.w < 0.5) colour = label_colour;
  }
  float along = va.w > 0.5 ? vb.x * side : va.x * side;
  vec2 g1 = textureLod(wrinkle, vec2(along / 0.33, va.y / 1.2) + shift, 1.0).rg * 2.0 - 1.0;
  vec2 g2 = textureLod(wrinkle, vec2(along / 0.55 + va.y * 0.4, vd.w / 0.26) + shift.yx, 1.0).rg
            * 2.0 - 1.0;
  vec2 g3 = textureLod(wrinkle, vec2((along + va.y) / 0.5, (along - va.y) / 1.1) + shift * 2.0,
                       1.0).rg * 2.0 - 1.0;
  // Where cloth is bunched its creases lie closer, too.
  vec2 g4 = textureLod(wrinkle, vec2(along / 0.4 + va.y * 0.3, vd.w / 0.11) + shift * 3.0, 1.0).rg
            * 2.0 - 1.0;
  float bump = wave.x * vd.z * (g1.x * sign(light.x) + 0.35 * g3.x)
             + wave.y * (min(vd.y, 1.2) * g2.y + max(vd.y - 0.8, 0.0) * g4.y);
  float l = lit(m) * (1.0 + bump) * mix(0.88, 1.0, clamp(abs(dot(m, view)) * 2.0, 0.0, 1.0));
  if (inner) l *= inner_light;
  vec4 clip = shop_projection * vec4(s, 1.0);
  o_albedo = vec4(colour, 1.0);
  float seen = code + (inner ? 8.0 : 0.0);
  o_shade = vec4(clamp(l * 128.0 / 255.0, 0.0, 1.0), cls / 255.0, seen / 255.0, 1.0);
  o_flow = vec4(clip.xy / clip.w * 0.5 + 0.5, s.z, p.z);
}
"""
)


@dataclass
class View:
    """A camera: `rotation` (3, 3) and `offset` (3,) from world to camera axes (x right, y down,
    z forward), and `projection` (4, 4) to clip space, image rows going down."""

    rotation: np.ndarray
    offset: np.ndarray
    projection: np.ndarray
    orthographic: bool = False

    def camera(self, points: np.ndarray) -> np.ndarray:
        """World (n, 3) to camera axes, float32."""
        return (points @ self.rotation.T + self.offset).astype(np.float32)

    def picture(self, points: np.ndarray) -> np.ndarray:
        """World (n, 3) to positions in the picture, 0..1 from its left and upper edge, (n, 2)."""
        c = np.concatenate([self.camera(points), np.ones((len(points), 1))], 1)
        clip = c @ self.projection.T
        return clip[:, :2] / clip[:, 3:] * 0.5 + 0.5


def perspective(window: np.ndarray, near: float = 0.3, far: float = 12.0) -> np.ndarray:
    """Projection of the window (x0, y0, x1, y1) of the plane z = 1."""
    x0, y0, x1, y1 = window
    m = np.zeros((4, 4))
    m[0, 0], m[0, 2] = 2 / (x1 - x0), -(x1 + x0) / (x1 - x0)
    m[1, 1], m[1, 2] = 2 / (y1 - y0), -(y1 + y0) / (y1 - y0)
    m[2, 2], m[2, 3] = (far + near) / (far - near), -2 * far * near / (far - near)
    m[3, 2] = 1
    return m


def orthographic(window: np.ndarray, near: float = -3.0, far: float = 3.0) -> np.ndarray:
    """Projection of the window (x0, y0, x1, y1) in metres."""
    x0, y0, x1, y1 = window
    m = np.eye(4)
    m[0, 0], m[0, 3] = 2 / (x1 - x0), -(x1 + x0) / (x1 - x0)
    m[1, 1], m[1, 3] = 2 / (y1 - y0), -(y1 + y0) / (y1 - y0)
    m[2, 2], m[2, 3] = 2 / (far - near), -(far + near) / (far - near)
    return m


@dataclass
class Light:
    """One directional light (camera axes), and what comes from around (`surroundings`)."""

    direction: np.ndarray
    around: np.ndarray
    key: float
    wrap: float


def random_light(rng: np.random.Generator) -> Light:
    """A light from above and the front, soft or hard, under a sky or in a place with lights."""
    d = np.array([rng.normal(0, 0.6), -rng.uniform(0.15, 1.0), -rng.uniform(0.5, 1.2)])
    ambient = rng.uniform(0.35, 0.75)
    placed = rng.random() < 0.5
    if placed:
        ambient = rng.uniform(0.5, 1.1)
    return Light(
        d / np.linalg.norm(d),
        random_surroundings(rng, ambient) if placed else sky(ambient),
        float(rng.uniform(1.0, 1.2) - ambient * 0.75),
        float(rng.uniform(0.0, 0.5)),
    )


@dataclass
class Layers:
    """What one view shows, at its final size (h, w), the scale included.

    Attributes:
        albedo: uint8 (h, w, 3). shade: uint8 (h, w), 128 is 1.0. alpha: uint8 (h, w).
        parse: uint8 (h, w). code: uint8 (h, w): which garment, INNER added on its inside.
        flow: float32 (h, w, 2), in-shop position of the garment seen, 0..1.
        shop_depth: float32 (h, w), distance of that point from the in-shop camera.
        fine_code: uint8 and fine_depth: float32, (SUPERSAMPLE h, SUPERSAMPLE w), not resolved.
    """

    albedo: np.ndarray
    shade: np.ndarray
    alpha: np.ndarray
    parse: np.ndarray
    code: np.ndarray
    flow: np.ndarray
    shop_depth: np.ndarray
    fine_code: np.ndarray
    fine_depth: np.ndarray

    @property
    def depth(self) -> np.ndarray:
        """float32 (h, w): metres from the camera's plane to what `parse` names, 0 where nobody
        is."""
        k = self.fine_depth.shape[0] // self.parse.shape[0]
        nearest = np.full(self.parse.shape, np.inf, np.float32)
        for at in ((slice(a, None, k), slice(b, None, k)) for a in range(k) for b in range(k)):
            same = (self.fine_code[at] == self.code) & (self.fine_depth[at] > 0)
            nearest = np.where(same, np.minimum(nearest, self.fine_depth[at]), nearest)
        return np.where((self.parse > 0) & np.isfinite(nearest), nearest, 0).astype(np.float32)


class Renderer:
    """Owns the GL context; one per process."""

    def __init__(self) -> None:
        import moderngl

        self._gl = moderngl
        try:
            self.ctx = moderngl.create_context(standalone=True, backend="egl")  # type: ignore[arg-type]
        except Exception as error:
            raise RuntimeError(
                "cannot create an EGL context for rendering; run "
                f"`apt-get install libegl1 libgl1-mesa-dri` ({error})"
            ) from error
        self.ctx.enable(moderngl.DEPTH_TEST)
        self.ctx.disable(moderngl.CULL_FACE)
        self._skin: Any = self.ctx.program(
            vertex_shader=_SKIN_VERTEX, fragment_shader=_SKIN_FRAGMENT
        )
        self._cloth: Any = self.ctx.program(
            vertex_shader=_CLOTH_VERTEX, fragment_shader=_CLOTH_FRAGMENT
        )
        self._targets: dict[tuple[int, int], tuple[Any, Any]] = {}
        self._wrinkles = self._wrinkle_texture()

    def _wrinkle_texture(self) -> Any:
        from training.data.fabric import noise

        rng = np.random.default_rng(7)
        # Ridges where smooth noise crosses zero read as folds; fine octaves would read as dirt.
        h = 0.7 * noise(rng, 256, 3, 2) + np.exp(-(noise(rng, 256, 3, 1) ** 2) / 0.12)
        gx, gy = np.roll(h, -2, 1) - np.roll(h, 2, 1), np.roll(h, -2, 0) - np.roll(h, 2, 0)
        g = np.stack([gx, gy], -1)
        g = np.clip(g / (2.2 * g.std()) * 0.5 + 0.5, 0, 1)
        texture = self.ctx.texture((256, 256), 2, (g * 255).astype(np.uint8).tobytes())
        texture.build_mipmaps()
        return texture

    def texture(self, image: np.ndarray, mipmaps: bool = True) -> Any:
        """Uploads uint8 (h, w, 3); release it with `.release()`."""
        t = self.ctx.texture(
            (image.shape[1], image.shape[0]), 3, np.ascontiguousarray(image).tobytes(), alignment=1
        )
        if mipmaps:
            t.build_mipmaps()
        return t

    def begin(self, width: int, height: int, view: View, light: Light, scale: int = 1) -> None:
        """Starts a picture of the given size, or the same picture `scale` times as large."""
        size = (width * scale * SUPERSAMPLE, height * scale * SUPERSAMPLE)
        if size not in self._targets:
            colours = [
                self.ctx.texture(size, 4),
                self.ctx.texture(size, 4),
                self.ctx.texture(size, 4, dtype="f4"),
            ]
            depth = self.ctx.depth_renderbuffer(size)
            self._targets[size] = (self.ctx.framebuffer(colours, depth), colours)
        self._size, self._view, self._light, self._scale = size, view, light, scale
        fbo = self._targets[size][0]
        fbo.use()
        fbo.clear(0, 0, 0, 0, 1.0)
        for program in (self._skin, self._cloth):
            program["projection"].write(view.projection.T.astype("f4").tobytes())
            program["light"].value = tuple(float(x) for x in light.direction)
            program["around"].write(light.around.T.astype("f4").tobytes())
            program["key"].value = light.key
            program["wrap"].value = light.wrap
            program["eye"].value = (0.0, 0.0, 1.0 if view.orthographic else 0.0)

    def _draw(
        self, program: Any, data: np.ndarray, layout: str, names: list[str], tri: np.ndarray
    ) -> None:
        vbo = self.ctx.buffer(np.ascontiguousarray(data, np.float32).tobytes())
        ibo = self.ctx.buffer(np.ascontiguousarray(tri, np.int32).tobytes())
        vao = self.ctx.vertex_array(program, [(vbo, layout, *names)], ibo)
        vao.render()
        vao.release()
        vbo.release()
        ibo.release()

    def skin(
        self,
        points: np.ndarray,
        normals: np.ndarray,
        colours: np.ndarray,
        part: np.ndarray,
        tri: np.ndarray,
        kind: int = -1,
    ) -> None:
        """Draws a surface with a colour at each vertex.

        `points`, `normals` (n, 3) world; `colours` (n, 3) 0..1; `part` (n, 4): arm, leg, side,
        keep (discarded below 0); `kind`: its PARSE index, or -1 to tell it from `part`.
        """
        v = self._view
        self._skin["kind"].value = float(kind)
        data = np.concatenate([v.camera(points), normals @ v.rotation.T, colours, part], 1)
        self._draw(self._skin, data, "3f 3f 3f 4f", ["pos", "nrm", "col", "part"], tri)

    def cloth(
        self,
        points: np.ndarray,
        normals: np.ndarray,
        attributes: np.ndarray,
        tri: np.ndarray,
        textures: tuple,
        uniforms: dict,
        shop: np.ndarray,
        shop_view: View,
    ) -> None:
        """Draws a garment. `attributes` (n, 12) as the shader names them; `shop` (n, 3) the same
        points in the in-shop picture's world, seen there by `shop_view`."""
        v, program = self._view, self._cloth
        for i, texture in enumerate((*textures, self._wrinkles)):
            texture.use(i)
        for i, name in enumerate(("tile", "atlas", "wrinkle")):
            program[name].value = i
        for name, value in uniforms.items():
            program[name].value = value
        program["shop_projection"].write(shop_view.projection.T.astype("f4").tobytes())
        data = np.concatenate(
            [v.camera(points), normals @ v.rotation.T, shop_view.camera(shop), attributes], 1
        )
        self._draw(program, data, "3f 3f 3f 4f 4f 4f", ["pos", "nrm", "shop", "a", "b", "d"], tri)

    def finish(self) -> Layers:
        """Reads the picture back and resolves it to its final size."""
        w, h = self._size
        fbo = self._targets[self._size][0]
        read = [
            np.frombuffer(fbo.read(components=4, attachment=i), np.uint8).reshape(h, w, 4)
            for i in range(2)
        ]
        flow = np.frombuffer(fbo.read(components=4, attachment=2, dtype="f4"), np.float32).reshape(
            h, w, 4
        )
        k = SUPERSAMPLE
        fh, fw = h // k, w // k
        depth = flow[..., 3]
        code, cls = read[1][..., 2], read[1][..., 1]
        alpha4 = read[0][..., 3].astype(np.float32) / 255
        half = (fw, fh)
        area = cv2.INTER_AREA
        alpha = cv2.resize(alpha4, half, interpolation=area)
        albedo = cv2.resize(read[0][..., :3], half, interpolation=area)
        cover = np.maximum(alpha, 1e-3)
        lit = read[1][..., 0].astype(np.float32)
        shade_linear = cv2.resize(lit, half, interpolation=area) / cover
        shade_linear *= self.occlusion(cv2.resize(depth, half, interpolation=cv2.INTER_NEAREST))
        shade = np.where(alpha > 0, np.clip(shade_linear, 0, 255), 128)
        samples = [(slice(a, None, k), slice(b, None, k)) for a in range(k) for b in range(k)]
        stack = np.stack([cls[s].astype(np.int16) * 16 + code[s] for s in samples])
        votes = (stack[:, None] == stack[None]).sum(1)
        best = votes.argmax(0)[None]
        key = np.take_along_axis(stack, best, 0)[0]
        parse, final_code = (key // 16).astype(np.uint8), (key % 16).astype(np.uint8)
        total = np.zeros((fh, fw, 3), np.float32)
        count = np.zeros((fh, fw), np.float32)
        for i, s in enumerate(samples):
            same = (stack[i] == key).astype(np.float32)
            total += flow[s][..., :3] * same[..., None]
            count += same
        total /= np.maximum(count, 1)[..., None]
        return Layers(
            albedo,
            shade.round().astype(np.uint8),
            (alpha * 255).round().astype(np.uint8),
            parse,
            final_code,
            total[..., :2],
            total[..., 2],
            code.copy(),
            depth.copy(),
        )

    def occlusion(self, depth: np.ndarray) -> np.ndarray:
        """Darkening where something nearer stands beside or above, float32 (h, w), 0.5..1.

        `depth`: float32 (h, w), 0 where nothing is; light and scale are the last picture's.
        """
        inside = depth != 0
        if not inside.any():
            return np.ones_like(depth)
        far = float(depth[inside].max()) + 0.05
        d = np.where(inside, depth, far).astype(np.float32)
        light = self._light.direction
        out = np.ones_like(d)
        for pixels, strength in ((4.0, 0.20), (11.0, 0.20)):
            radius = pixels * self._scale
            shift = radius * 0.9
            m = np.array([[1, 0, -light[0] * shift], [0, 1, -light[1] * shift]], np.float32)
            moved = cv2.warpAffine(d, m, (d.shape[1], d.shape[0]), borderValue=[far])
            near = cv2.GaussianBlur(np.minimum(moved, far), (0, 0), radius * 0.5)
            out *= 1 - strength * np.clip((d - near - 0.006) / 0.08, 0, 1)
        return out

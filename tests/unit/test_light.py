"""Light that is read off pale plain cloth, and cloth beside where skin was expected."""

from __future__ import annotations

import torch
from torch import Tensor

from tryon.contract import NET_HEIGHT, NET_WIDTH
from tryon.models import light as lighting
from tryon.models.light import _MOST, _STRONGER, cloth_beside_skin, half_luma, led_by


def one_tone(rgb: Tensor, old: Tensor) -> Tensor:
    return lighting.one_tone(half_luma(rgb), old)


def read_off(rgb: Tensor, old: Tensor, arms: Tensor, even: Tensor) -> tuple[Tensor, Tensor]:
    return lighting.read_off(half_luma(rgb), old, arms, even)


HALF = (NET_HEIGHT // 2, NET_WIDTH // 2)
TOP = (slice(30, 100), slice(25, 70))


def worn(luma: float) -> tuple[Tensor, Tensor, Tensor]:
    """A view with a top of that luma before a darker wall, where the top is, and no arms."""
    rgb = torch.full((1, 3, NET_HEIGHT, NET_WIDTH), 0.3)
    rgb[:, :, 60:200, 50:140] = luma
    old = torch.zeros(1, 1, *HALF)
    old[(0, 0, *TOP)] = 1
    return rgb, old, torch.zeros(1, 1, *HALF)


def test_a_jacket_over_a_shirt_has_two_tones_and_a_lit_top_one() -> None:
    rgb, old, _ = worn(0.8)
    rgb[..., 60:200, 50:140] *= torch.linspace(1.1, 0.85, 90)
    assert one_tone(rgb, old) == 1
    rgb[..., 60:200, 80:110] = 0.1
    assert one_tone(rgb, old) == 0
    assert one_tone(rgb, 0 * old).isfinite().all()


def test_broad_light_is_read_off_and_led_on() -> None:
    """Falling from left to right; beyond the top it stays what it is at its edge."""
    rgb, old, arms = worn(0.8)
    gains = torch.linspace(1.15, 0.8, 90)
    rgb[..., 60:200, 50:140] *= gains
    light, read = read_off(rgb, old, arms, one_tone(rgb, old))
    assert 0.5 < float(read) <= 1
    row = light[0, 0, 65]
    expected = _STRONGER * (gains.reshape(45, 2).mean(1) / gains.mean()).log()
    assert (row[TOP[1]] - expected).abs().max() < 0.08
    assert row[26:69].diff().max() < 0.01
    assert (row[71:80] - expected[-1]).abs().max() < 0.1
    assert (row[5:24] - expected[0]).abs().max() < 0.1


def test_arms_have_their_own_mean() -> None:
    """A dark arm is no shadow on a long sleeve."""
    rgb, old, arms = worn(0.8)
    rgb[:, :, 100:200, 150:170] = 0.25
    arms[:, :, 50:100, 75:85] = 1
    light, _ = read_off(rgb, old, arms, one_tone(rgb, old))
    assert light[0, 0, 60:90, 72:88].abs().max() < 0.06


def test_dark_and_small_tops_and_those_of_two_tones_are_not_read() -> None:
    even = torch.ones(1, 1, 1, 1)
    rgb, old, arms = worn(0.2)
    assert read_off(rgb, old, arms, even)[1] == 0
    rgb, old, arms = worn(0.8)
    assert read_off(rgb, old, arms, 0 * even)[1] == 0
    light, read = read_off(rgb, 0 * old, arms, even)
    assert float(read) < 1e-3 and light.isfinite().all()
    small = torch.zeros_like(old)
    small[:, :, 40:54, 40:54] = 1
    assert 0 < float(read_off(rgb, small, arms, even)[1]) < 0.5 * _MOST


def test_people_of_a_batch_have_light_of_their_own() -> None:
    rgb, old, arms = worn(0.8)
    other, two = worn(0.6)[0].flip(3), rgb.clone()
    rgb[..., 60:200, 50:140] *= torch.linspace(1.1, 0.85, 90)
    two[..., 60:200, 80:110] = 0.1
    people = [(rgb, old), (other, old.flip(3)), (two, old)]
    batch, tops = (torch.cat(parts) for parts in zip(*people, strict=True))
    even = one_tone(batch, tops)
    light, read = read_off(batch, tops, torch.cat([arms] * 3), even)
    led = led_by(light.exp().expand(-1, 3, -1, -1), light, read, tops)
    for i, (own, top) in enumerate(people):
        alone = read_off(own, top, arms, one_tone(own, top))
        assert torch.allclose(light[i : i + 1], alone[0], atol=1e-5)
        assert torch.allclose(read[i : i + 1], alone[1], atol=1e-5)
        again = led_by(alone[0].exp().expand(-1, 3, -1, -1), *alone, top)
        assert torch.allclose(led[i : i + 1], again, atol=1e-5)


def test_the_pattern_is_the_lights_and_the_level_the_networks() -> None:
    _, old, _ = worn(0.8)
    blotches = 0.8 + 0.1 * torch.rand(1, 1, *HALF, generator=torch.Generator().manual_seed(1))
    shade = blotches.expand(-1, 3, -1, -1) * torch.tensor([1.0, 0.98, 1.02])[None, :, None, None]
    light = torch.linspace(-0.2, 0.2, HALF[1]).expand(1, 1, *HALF)
    one = torch.ones(1, 1, 1, 1)
    led = led_by(shade, light, one, old)
    assert torch.allclose(led.mean(1).log().diff(dim=2), light[:, 0].diff(dim=2), atol=1e-4)
    assert 0.8 < led.mean() < 0.95
    assert torch.allclose(led / led.mean(1, keepdim=True), shade / blotches, atol=1e-4), "its tint"
    assert torch.allclose(led_by(shade, light, 0 * one, old), shade)


def test_cloth_where_skin_was_expected_is_lit_as_the_cloth_beside_it() -> None:
    """A throat's light is no bright rim on a collar that reaches over it."""
    old, skin = torch.zeros(1, 1, *HALF), torch.zeros(1, 1, *HALF)
    old[:, :, 20:], skin[:, :, 20:40, 40:60] = 1, 1
    fine = 0.6 * skin - 0.1
    shade = torch.full((1, 3, HALF[0] // 2, HALF[1] // 2), 0.0)
    shade[:, :, 10:20, 20:30] = 0.9
    led, led_fine = cloth_beside_skin(shade, fine, old, skin)
    assert led[:, :, 11:19, 21:29].abs().max() < 0.05
    assert (led_fine[:, :, 22:38, 42:58] + 0.1).abs().max() < 0.05
    assert torch.equal(led[:, :, 40:], shade[:, :, 40:])
    same, same_fine = cloth_beside_skin(shade, fine, old, 0 * skin)
    assert torch.allclose(same, shade) and torch.allclose(same_fine, fine)

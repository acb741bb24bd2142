"""Each augmentation does what it says, to each picture on its own, the same for the same seed."""

from __future__ import annotations

import pytest
import torch

from edgenet.bench.training import Recipe, augmentation, mixing


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(count: int = 64, channels: int = 3, side: int = 12) -> torch.Tensor:
    return torch.rand(count, channels, side, side, generator=generator(7))


def test_flip_mirrors_about_half():
    x = noise()
    y = augmentation.flip(x, generator())
    mirrored = (y == x.flip(-1)).all(dim=(1, 2, 3))
    assert ((y == x).all(dim=(1, 2, 3)) ^ mirrored).all()
    assert 16 < int(mirrored.sum()) < 48


def test_crop_shifts_by_at_most_the_padding():
    x = noise(200, 2, 6)
    y = augmentation.crop(x, 2, generator())
    padded = torch.nn.functional.pad(x, (2, 2, 2, 2))
    shifts = set()
    for before, after in zip(padded, y, strict=True):
        places = [(i, j) for i in range(5) for j in range(5) if torch.equal(before[:, i : i + 6, j : j + 6], after)]
        assert len(places) == 1
        shifts.add(places[0])
    assert len(shifts) == 25


def test_scale_resizes_about_the_centre():
    x = torch.zeros(100, 1, 20, 20)
    x[:, :, 6:14, 6:14] = 1
    y = augmentation.scale(x, 0.5, generator())
    areas = y.sum((1, 2, 3)) / 64
    assert float(areas.min()) < 0.5
    assert float(areas.max()) > 1.8
    assert ((areas > 0.25 * 0.8) & (areas < 2.25 * 1.1)).all()
    rows = torch.arange(20) - 9.5
    centres = (y.sum((1, 3)) * rows).sum(1) / y.sum((1, 2, 3))
    torch.testing.assert_close(centres, torch.zeros(100), atol=1e-4, rtol=0)


def test_jitter_changes_brightness_contrast_and_saturation():
    x = 0.3 + 0.2 * noise()
    y = augmentation.jitter(x, 0.3, generator())
    brightness = y.mean((1, 2, 3)) / x.mean((1, 2, 3))
    assert ((brightness > 0.69) & (brightness < 1.31)).all()
    assert float(brightness.std()) > 0.1
    contrast = y.mean(1).std((1, 2)) / x.mean(1).std((1, 2)) / brightness
    assert float(contrast.std()) > 0.1
    saturation = y.std(1).mean((1, 2)) / x.std(1).mean((1, 2)) / brightness
    assert float((saturation / contrast).std()) > 0.1
    grey = augmentation.jitter(noise(8, 1), 0.3, generator())
    assert grey.shape == (8, 1, 12, 12)
    assert 0 <= float(grey.min()) <= float(grey.max()) <= 1


def test_cutout_blanks_one_square():
    x = 1 + noise(300)
    y = augmentation.cutout(x, 4, generator())
    blank = y == 0
    assert (blank == blank[:, :1]).all()
    assert (y[~blank] == x[~blank]).all()
    rows, columns = blank[:, 0].any(2).sum(1), blank[:, 0].any(1).sum(1)
    assert torch.equal(rows * columns, blank[:, 0].sum((1, 2)))
    assert ((rows <= 4) & (rows >= 2) & (columns <= 4) & (columns >= 2)).all()
    assert int((rows * columns == 16).sum()) > 100


def targets(count: int = 64) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.arange(count) % 5, 5).float()


def test_mixup_averages_pictures_and_labels_alike():
    x = torch.eye(64).view(64, 1, 8, 8)
    y, labels = mixing.mixup(x, targets(), 1.0, generator())
    weights = y.flatten(1)  # row n: how much of each picture is in n
    torch.testing.assert_close(weights.sum(1), torch.ones(64))
    torch.testing.assert_close(labels, weights @ targets())
    assert 0 < float(weights.diagonal().median()) < 1


def test_cutmix_pastes_a_rectangle_and_counts_its_pixels():
    x = torch.arange(64.0).view(64, 1, 1, 1).expand(64, 1, 10, 10).contiguous()
    shares = []
    for seed in range(20):
        y, labels = mixing.cutmix(x, targets(), 1.0, generator(seed))
        weights = torch.nn.functional.one_hot(y.flatten(1).long(), 64).float().mean(1)
        torch.testing.assert_close(labels, weights @ targets())
        pasted = (y != x)[:, 0]
        assert torch.equal(pasted.any(2).sum(1) * pasted.any(1).sum(1), pasted.sum((1, 2)))
        shares.append(float(pasted.float().mean()))
    assert min(shares) < 0.3
    assert max(shares) > 0.5


def test_both_mixings_take_turns():
    x = torch.rand(16, 1, 8, 8, generator=generator(1)) + 1
    recipe = Recipe(mixup=1.0, cutmix=1.0)
    kinds = set()
    for seed in range(12):
        y, _ = mixing.mix(x, targets(16), recipe, generator(seed))
        kinds.add(bool(torch.isin(y, x).all()))  # cutmix invents no pixel
    assert kinds == {True, False}
    assert mixing.mix(x, targets(16), Recipe(), generator())[0] is x


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_beta_has_its_mean_and_variance(alpha):
    drawn = torch.tensor([mixing.beta(alpha, source) for source in [generator()] for _ in range(4000)])
    assert float(drawn.mean()) == pytest.approx(0.5, abs=0.03)
    assert float(drawn.var()) == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


def test_seed_decides_the_pictures():
    recipe = Recipe(flip=True, crop=2, scale=0.2, jitter=0.3)
    first, again, other = (augmentation.augment(noise(), recipe, generator(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    plain = Recipe(flip=False, crop=0)
    assert torch.equal(augmentation.augment(noise(), plain, generator()), noise())

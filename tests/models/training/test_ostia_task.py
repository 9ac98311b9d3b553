"""Samples, batches, loss and export of the ostia network, and that it learns."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from models.networks.ostia import SIDE, DeployedOstia, Ostia  # noqa: E402
from models.phantom import Patient, draw_patient  # noqa: E402
from models.training.export import export_network  # noqa: E402
from models.training.ostia_samples import SPARE, OstiaSample, draw_crop, find_site, heat_maps, true_ostia  # noqa: E402
from models.training.ostia_task import heat_loss, make_batch, ostia_task  # noqa: E402

pytestmark = pytest.mark.train

SIZE = SIDE + 2 * SPARE


def knobs(rng: np.random.Generator) -> OstiaSample:
    """A ball of blood with a short knob on either side; the left one is where x is high."""
    z, y, x = np.mgrid[:SIZE, :SIZE, :SIZE] - SIZE / 2 + 0.5
    shift = rng.uniform(-4, 4, 3)
    ball = np.sqrt((z - shift[0]) ** 2 + (y - shift[1]) ** 2 + (x - shift[2]) ** 2)
    peaks, bright = [], ball < 12
    for side, sign in enumerate((1, -1)):
        at = shift + np.array([rng.uniform(-5, 5), rng.uniform(-5, 5), 0.0])
        across = np.hypot(z - at[0], y - at[1])
        bright |= (across < 2.5) & (sign * (x - shift[2]) > 0) & (sign * (x - shift[2]) < 20)
        reach = np.sqrt(144 - (at[0] - shift[0]) ** 2 - (at[1] - shift[1]) ** 2)
        peaks.append([*(np.array([at[0], at[1], shift[2] + sign * reach]) + SIZE / 2 - 0.5), side])
    hu = np.where(bright, 400, -90) + rng.normal(0, 15, ball.shape)
    aorta = np.where(ball < 12, 255, 0)
    return OstiaSample(hu=hu.astype(np.int16), aorta=aorta.astype(np.uint8), peaks=np.array(peaks, np.float32))


@pytest.fixture(scope="module")
def patient() -> Patient:
    return draw_patient(7)


def test_heat_stands_where_the_ostium_is_and_on_its_side_only() -> None:
    heat = heat_maps(np.array([[10.4, 20.0, 30.7, 1.0]], np.float32), (40, 40, 40))
    assert not heat[0].any()
    where = np.indices(heat[1].shape).reshape(3, -1)
    assert np.allclose((where * heat[1].ravel()).sum(axis=1) / heat[1].sum(), [10.4, 20.0, 30.7], atol=0.02)


def test_a_cut_moves_image_aorta_and_heat_together() -> None:
    sample = OstiaSample(
        hu=np.full((SIZE,) * 3, -90, np.int16), aorta=np.zeros((SIZE,) * 3, np.uint8), peaks=np.array([[30.0, 41.0, 35.0, 0.0]], np.float32)
    )
    sample.hu[30, 41, 35], sample.aorta[30, 41, 35] = 800, 255
    batch = make_batch([sample] * 12, np.random.default_rng(0))
    places = {item[0].argmax() for item in batch["channels"]}
    assert len(places) > 6
    for channels, heat in zip(batch["channels"], batch["heat"], strict=True):
        assert channels[0].argmax() == heat[0].argmax()
        assert channels[1].argmax() == heat[0].argmax() or not channels[1].any()  # now and then the aorta is left out


def test_a_crop_of_a_patient_holds_its_ostia_on_the_aortic_wall(patient: Patient) -> None:
    rng = np.random.default_rng(1)
    site = find_site(patient, rng, scans=1)
    sample = draw_crop(site, rng)
    points, sides = true_ostia(patient)
    assert sorted(sample.peaks[:, 3]) == sorted(sides)
    apart = np.linalg.norm(sample.peaks[:, None, :3] - sample.peaks[None, :, :3], axis=2)
    assert np.allclose(apart, np.linalg.norm(points[:, None] - points[None], axis=2), atol=0.02) or site.scans[0].steps
    aorta = np.argwhere(sample.aorta > 127)
    for z, y, x, _ in sample.peaks:
        assert min(z, y, x) > SPARE + 4
        assert max(z, y, x) < SIZE - SPARE - 4
        distance = np.linalg.norm(aorta - [z, y, x], axis=1)
        assert distance.min() < 4.0  # on the aorta's wall
        assert (distance < 4.0).mean() < 0.1


def test_it_learns_where_a_vessel_leaves_and_which_side_it_is() -> None:
    rng = np.random.default_rng(2)
    torch.manual_seed(0)
    task = ostia_task()
    network = task.network().to(memory_format=torch.channels_last_3d)
    optimizer = torch.optim.AdamW(network.parameters(), lr=4e-3)
    samples = [knobs(rng) for _ in range(8)]
    losses = []
    for _ in range(40):
        batch = {k: torch.from_numpy(v) for k, v in make_batch([samples[i] for i in rng.choice(8, 2)], rng).items() if v is not None}
        network.train()
        loss, _ = heat_loss(network(batch["channels"]), batch)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
    batch = make_batch([knobs(rng) for _ in range(4)], rng)
    with torch.no_grad():  # by the batch's own statistics: the running ones have not settled after so few steps
        heat = torch.sigmoid(network(torch.from_numpy(batch["channels"]))).numpy()
    at_ostia = [(heat[n, side][peak > 0.5].mean(), heat[n, 1 - side][peak > 0.5].mean())
                for n, both in enumerate(batch["heat"]) for side, peak in enumerate(both)]  # fmt: skip
    own, other = np.mean(at_ostia, axis=0)
    assert own > 3.0 * other
    assert own > 20.0 * heat.mean()


def test_export_agrees_with_torch_and_the_heat_is_of_bytes(tmp_path: Path) -> None:
    torch.manual_seed(0)
    assert export_network(ostia_task().deployment, Ostia(), file=tmp_path / "ostia.onnx") < 0.01
    assert (tmp_path / "ostia.onnx").stat().st_size < 2e6
    left, right, check = DeployedOstia(Ostia().eval())(torch.zeros(2, 2, SIDE, SIDE, SIDE))
    assert left.dtype == right.dtype == torch.uint8
    assert left.shape == (2, SIDE, SIDE, SIDE)
    assert check.shape == (2,)

"""A hospital's own cases: layouts, grids, what a partial label map teaches, and the stream of patches."""

from __future__ import annotations

from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

torch = pytest.importorskip("torch")

from models.training.coronary_task import CORONARY_WEIGHTS  # noqa: E402
from models.training.hospital import HospitalDataError, PreparedCase, find_cases, load_prepared, read_label, read_volume  # noqa: E402
from models.training.hospital_samples import NO_LUMEN, SOME_CORONARY, UNIONS, hospital_patch, hospital_patches  # noqa: E402
from models.training.hospital_task import HospitalSource, hospital_task  # noqa: E402
from models.training.losses import LossWeights, segmentation_loss  # noqa: E402
from models.training.tasks import TASKS  # noqa: E402

pytestmark = pytest.mark.train


def write(path: Path, values: np.ndarray, *, spacing: tuple[float, float, float] = (0.5, 0.5, 0.5), turned: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image: Any = SimpleITK.GetImageFromArray(values)
    image.SetSpacing(spacing)
    image.SetOrigin((-10.0, -20.0, 30.0))
    if turned:
        c, s = np.cos(0.3), np.sin(0.3)
        image.SetDirection((c, -s, 0.0, s, c, 0.0, 0.0, 0.0, 1.0))
    plain = path.with_name(f"plain{'.nrrd' if path.name.endswith('.nrrd') else '.nii.gz'}")
    SimpleITK.WriteImage(image, str(plain))  # the writer makes other files of a name with ".img"
    plain.rename(path)


@pytest.fixture
def scan() -> np.ndarray:
    return np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)


def test_the_three_layouts_are_found(tmp_path: Path, scan: np.ndarray) -> None:
    mark = (scan > 50).astype(np.uint8)
    write(tmp_path / "1-200" / "17.img.nii.gz", scan)
    write(tmp_path / "1-200" / "17.label.nii.gz", mark)
    write(tmp_path / "Normal" / "CTCA" / "Normal_1.nrrd", scan)
    write(tmp_path / "Normal" / "Annotations" / "Normal_1.nrrd", mark)
    write(tmp_path / "own" / "a" / "image.nii.gz", scan)
    write(tmp_path / "own" / "a" / "label.nrrd", mark)
    cases = find_cases(tmp_path)
    assert [case.name for case in cases] == ["1-200/17", "Normal/Normal_1", "own/a"]
    for case in cases:
        volume = read_volume(case.image)
        np.testing.assert_array_equal(volume.voxels, scan)
        assert volume.geometry.spacing == (0.5, 0.5, 0.5)
        assert volume.geometry.origin == (-10.0, -20.0, 30.0)
        np.testing.assert_array_equal(read_label(case.label, volume.geometry) == 255, mark == 1)
        assert case.kind == next(other.kind for other in find_cases(tmp_path) if other.name == case.name)


def test_what_is_missing_or_does_not_fit_is_named(tmp_path: Path, scan: np.ndarray) -> None:
    with pytest.raises(HospitalDataError, match="no case found"):
        find_cases(tmp_path)
    write(tmp_path / "3.img.nii.gz", scan)
    with pytest.raises(HospitalDataError, match=r"3\.label\.nii\.gz is missing"):
        find_cases(tmp_path)
    write(tmp_path / "3.label.nii.gz", scan[:3].astype(np.uint8))
    with pytest.raises(HospitalDataError, match="does not lie on the grid"):
        read_label(tmp_path / "3.label.nii.gz", read_volume(tmp_path / "3.img.nii.gz").geometry)
    (tmp_path / "broken.nrrd").write_bytes(b"NRRD0004\n")
    with pytest.raises(HospitalDataError, match="cannot be read"):
        read_volume(tmp_path / "broken.nrrd")


def test_an_oblique_scan_and_its_label_are_turned_alike(tmp_path: Path) -> None:
    values = np.full((20, 30, 30), -100, np.int16)
    values[8:12, 10:14, 18:22] = 400
    write(tmp_path / "image.nrrd", values, turned=True)
    write(tmp_path / "label.nrrd", (values > 0).astype(np.uint8), turned=True)
    volume = read_volume(tmp_path / "image.nrrd")
    label = read_label(tmp_path / "label.nrrd", volume.geometry) == 255
    np.testing.assert_array_equal(volume.geometry.direction, np.eye(3))
    c, s = np.cos(0.3), np.sin(0.3)
    centre = np.array([0.5 * 19.5, 0.5 * 11.5])
    expected = np.array([-10.0 + c * centre[0] - s * centre[1], -20.0 + s * centre[0] + c * centre[1], 30.0 + 0.5 * 9.5])
    for mask in (volume.voxels > 150, label):
        np.testing.assert_allclose(volume.geometry.to_points(np.argwhere(mask)).mean(axis=0), expected, atol=0.25)


def test_a_union_is_the_sum_of_its_classes() -> None:
    logits = torch.zeros(1, 5, 1, 1, 2)
    logits[0, 1] = 2.0  # lumen
    target = torch.tensor([[[[SOME_CORONARY, NO_LUMEN]]]])
    weights = LossWeights(classes=(1.0,) * 5, dice=0.0, unions=UNIONS, union_weights=(1.0, 1.0))
    _, terms = segmentation_loss(logits, target, None, weights)
    p = torch.softmax(logits[0, :, 0, 0, 0], dim=0)
    expected = -0.5 * (torch.log(p[1] + p[2] + p[3]) + torch.log(p[0] + p[2] + p[4]))
    assert terms["entropy"] == pytest.approx(float(expected), rel=1e-5)


def test_fully_labelled_patches_are_judged_as_before() -> None:
    generator = torch.Generator().manual_seed(4)
    logits = torch.randn(2, 5, 4, 4, 4, generator=generator)
    target = torch.randint(0, 5, (2, 4, 4, 4), generator=generator)
    plain, _ = segmentation_loss(logits, target, None, CORONARY_WEIGHTS)
    own, _ = segmentation_loss(logits, target, None, hospital_weights())
    assert float(own) == pytest.approx(float(plain), rel=1e-6)


def hospital_weights() -> LossWeights:
    return LossWeights(
        classes=CORONARY_WEIGHTS.classes, vessel_classes=CORONARY_WEIGHTS.vessel_classes, unions=UNIONS, union_weights=(2.0, 1.0)
    )


def tube_case() -> PreparedCase:
    """A tube along z in fat, on a grid of its own."""
    _, y, x = np.mgrid[:80, :90, :100]
    radius = np.hypot(y - 40, x - 50)
    return PreparedCase(
        hu=np.where(radius < 4, 400, -80).astype(np.int16),
        coronary=radius < 4,
        origin=np.array([1.0, 2.0, 3.0]),
        coarse=np.full((20, 20, 20), 3, np.uint8),
        coarse_origin=np.array([1.0, 2.0, 3.0]),
        blood_hu=400.0,
    )


def test_patches_show_what_is_marked_and_learn_from_it(tmp_path: Path) -> None:
    case = tube_case()
    rng = np.random.default_rng(2)
    sites = np.argwhere(case.coronary)
    for _ in range(10):
        patch = hospital_patch(case, sites, rng, size=32)
        np.testing.assert_array_equal(patch.target == SOME_CORONARY, patch.hu == 400)
        assert set(np.unique(patch.target)) <= {SOME_CORONARY, NO_LUMEN}
        assert patch.skeleton is not None
        assert not (patch.skeleton & (patch.target == NO_LUMEN)).any()

    file = tmp_path / "case.npz"
    np.savez(file, **{**vars(case), "coronary": np.packbits(case.coronary)})
    stored = load_prepared(file)
    np.testing.assert_array_equal(stored.coronary, case.coronary)
    assert all(patch.hu.shape == (64, 64, 64) for patch in islice(hospital_patches(1, files=(file,), replay=0.0), 3))
    patches = [hospital_patch(stored, sites, rng, size=32) for _ in range(4)]

    task = hospital_task(TASKS["cor-seg"], HospitalSource((file,), replay=0.0))
    batch = task.make_batch(patches, rng)
    tensors = {name: None if array is None else torch.from_numpy(np.ascontiguousarray(array)) for name, array in batch.items()}
    network = task.network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        loss, _ = task.loss(network(tensors["channels"]), tensors)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.6 * losses[0]

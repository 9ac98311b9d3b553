"""A hospital's two labelled scans, one of DICOM and one of NIfTI, through the commands: prepared, trained on, exported, evaluated."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK

torch = pytest.importorskip("torch")
pytest.importorskip("skimage")

from appliance.inference.catalog import installed_catalog  # noqa: E402
from models.evaluation.__main__ import main as evaluate  # noqa: E402
from models.phantom import Rendered, draw_patient, draw_scan, render  # noqa: E402
from models.phantom.scan import undisturbed  # noqa: E402
from models.training.checkpoint import load_checkpoint  # noqa: E402
from models.training.export import export_models  # noqa: E402
from models.training.hospital import HospitalCase, HospitalDataError  # noqa: E402
from models.training.hospital_task import HospitalSource, hospital_task, prepare_all  # noqa: E402
from models.training.tasks import TASKS  # noqa: E402
from models.training.trainer import Schedule, Trainer  # noqa: E402
from tests.peers.datasets import ct_slice, save  # noqa: E402

pytestmark = pytest.mark.train

SPACING = (0.7, 0.7, 0.8)
LUMEN_AND_CALCIUM = (1, 3)
"""What ImageCAS and ASOCA mark."""


@pytest.fixture(scope="module")
def rendered() -> tuple[Rendered, tuple[float, float, float]]:
    """A virtual patient's heart with 25 mm about it, quiet and still; and where its first voxel lies."""
    patient = draw_patient(7)
    scan = replace(undisturbed(draw_scan(7)), vessel_hu=420.0, noise_hu=15.0)
    low, high = (np.asarray(side) for side in patient.heart_box)
    x, y, z = (float(value) for value in low - 25.0)
    nx, ny, nz = (int(n) for n in np.ceil((high - low + 50.0) / np.asarray(SPACING)))
    return render(patient, scan, origin=(x, y, z), spacing=SPACING, shape=(nz, ny, nx)), (x, y, z)


def write_nifti(path: Path, values: np.ndarray, origin: tuple[float, float, float]) -> None:
    image: Any = SimpleITK.GetImageFromArray(values)
    image.SetSpacing(SPACING)
    image.SetOrigin(origin)
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = path.with_name("plain.nii.gz")
    SimpleITK.WriteImage(image, str(plain))  # the writer makes other files of a name with ".img"
    plain.rename(path)


def write_dicom(folder: Path, hu: np.ndarray, origin: tuple[float, float, float]) -> None:
    folder.mkdir(parents=True)
    for index, pixels in enumerate(hu):
        place = [*origin[:2], origin[2] + index * SPACING[2]]
        dataset = ct_slice(index=index, pixels=pixels, PixelSpacing=list(SPACING[:2]), ImagePositionPatient=place, SliceThickness="0.8")
        save(dataset, folder / f"{index:04d}.dcm")


def name_of(kind: str) -> str:
    """A name that falls into this part of the hospital's cases."""
    return next(name for name in map("patient-{}".format, range(100)) if HospitalCase(f"cases/{name}", Path(), Path()).kind == kind)


def test_a_hospital_trains_exports_and_evaluates_on_its_own_scans(
    rendered: tuple[Rendered, tuple[float, float, float]], tmp_path: Path
) -> None:
    seen, origin = rendered
    label = np.isin(seen.vessels, LUMEN_AND_CALCIUM).astype(np.uint8)
    folder = tmp_path / "own"
    train, test = (folder / "cases" / name_of(kind) for kind in ("train", "test"))
    write_dicom(train / "image", seen.hu, origin)
    write_nifti(train / "label.nii.gz", label, origin)
    write_nifti(test.with_name(f"{test.name}.img.nii.gz"), seen.hu, origin)
    write_nifti(test.with_name(f"{test.name}.label.nii.gz"), label, origin)

    lines: list[str] = []
    files = prepare_all(folder, kind="train", log=lines.append, store=tmp_path / "store")
    assert len(files) == 1
    assert lines[-1].endswith("1 of 1 cases of the family 'train'")
    with pytest.raises(HospitalDataError, match="none of its 0 cases"):
        prepare_all(folder, kind="development", log=lines.append, store=tmp_path / "store")

    task = replace(hospital_task(TASKS["cor-seg"], HospitalSource(files, replay=0.0)), batch=2, pool=8)
    training = tmp_path / "training"
    trainer = Trainer(task, folder=training / "cor-seg", score=lambda _: {"nothing": 0.0}, seed=1, log=lines.append)
    trainer.run(Schedule(minutes=10.0, steps=3))
    assert load_checkpoint(training / "cor-seg" / "checkpoint.pt")[0].samples_drawn == 6

    models = tmp_path / "models"
    (models / "weights").mkdir(parents=True)
    catalog = installed_catalog()
    (models / "catalog.toml").write_bytes(catalog.read_bytes())
    for file in (catalog.parent / "weights").iterdir():
        (models / "weights" / file.name).symlink_to(file)
    (models / "weights" / "cor-seg.onnx").unlink()
    list(export_models(folder=training, only="cor-seg", models=models))

    out = tmp_path / "result" / "evaluation.json"
    for used, better in ((models / "catalog.toml", False), (catalog, True)):
        assert evaluate(["--hospital", str(folder), "--catalog", str(used), "--out", str(out)]) == 0
        result = json.loads(out.with_name("hospital-evaluation.json").read_text(encoding="utf-8"))
        assert (result["kind"], result["cases"], result["left_out"], result["synthetic"]) == ("test", 1, 0, False)
        assert {"median", "mean", "worst", "n"} <= set(result["overall"]["dice"])
        assert (result["overall"]["dice"]["median"] > 0.5) is better, "three steps make no network, the released one knows vessels"
    assert test.name not in json.dumps(result), "names of cases stay in the log"

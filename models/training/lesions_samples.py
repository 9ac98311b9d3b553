"""Samples for the network ``lesions``: straightened pieces of true vessels with realistic errors, and what is truly there every 0.5 mm.

A box along a piece of vessel is rendered as a scanner would see it, and the product's own sampler cuts it. Half of the pieces hold
disease; the others are what is taken for it: origins of side branches beside their parent's plaque, healthy and tortuous vessels, stents,
and veins.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter1d
from scipy.spatial import cKDTree

from appliance.analysis.lesion_network import PADDING_HU, PIXEL_MM, SIDE, Line, cut_channels, straighten
from appliance.geometry import frames
from appliance.volume import Geometry, Volume
from models.networks.lesions import CLASSES, FEATURES, NONE, STENT
from models.phantom import Patient, Scan, draw_scan, render
from models.phantom.motion import seen
from models.training.patients import training_patient

Float = npt.NDArray[np.float64]

LENGTH = 96
"""Positions in a sample, 48 mm."""
WINDOWS_PER_SCAN = 8
LESIONS_PER_PATIENT = 5
WINDOWS_PER_LESION = 3
WINDOWS_PER_STENT = 3
LINES_PER_BOX = 2
_SHOULDER_MM = 1.0
_SHOULDER_WEIGHT = 0.3
_ORIGIN_POINTS = 24
_SMALL_MM = 1.3
_SMALL_WEIGHT = 0.3
_MARGIN_MM = PIXEL_MM * SIDE / 2 * 1.5 + 2.0


@dataclass(frozen=True)
class Truth:
    """What is truly at each point of a line, (n,) unless said otherwise.

    Attributes:
        kind: index into `CLASSES`, uint8.
        narrowing: part of the healthy diameter that is missing, 0..1.
        features: 1 where the plaque has a feature of `FEATURES`, (n, 4).
        diameters: of the lumen and of the lumen without disease in mm, (n, 2); NaN in a vessel that is no coronary artery.
        weight: in the loss; less at the shoulders of a plaque, where nothing can be seen yet, and in the smallest vessels.
        blood: attenuation of unblurred blood relative to the aorta.
    """

    kind: npt.NDArray[np.uint8]
    narrowing: Float
    features: Float
    diameters: Float
    weight: Float
    blood: Float

    def take(self, rows: npt.NDArray[np.intp]) -> Truth:
        """Some of the points."""
        return Truth(self.kind[rows], self.narrowing[rows], self.features[rows], self.diameters[rows], self.weight[rows], self.blood[rows])


@dataclass(frozen=True)
class LesionSample:
    """A straightened piece of `LENGTH` positions: sections (n, SIDE, SIDE) and blood (n,) in HU, and the truth; padding weighs nothing."""

    hu: npt.NDArray[np.int16]
    blood_hu: npt.NDArray[np.float32]
    truth: Truth


@dataclass(frozen=True)
class Path:
    """A true vessel with what lies upstream of it: points (n, 3), of which the first ``upstream`` belong to its parents, and the truth."""

    points: Float
    upstream: int
    truth: Truth


def lesion_windows(seed: int) -> Iterator[LesionSample]:
    """An endless stream of samples of the train family; ``seed`` decides the patients, places and scans."""
    rng = np.random.default_rng(seed)
    while True:
        yield from patient_windows(training_patient(rng), rng)


def patient_windows(patient: Patient, rng: np.random.Generator) -> Iterator[LesionSample]:
    """The samples that one patient gives, in random order."""
    places = draw_places(patient, rng)
    scan = draw_scan(int(rng.integers(2**31)))
    for number, (path, at) in enumerate(places):
        if number and number % WINDOWS_PER_SCAN == 0:
            scan = draw_scan(int(rng.integers(2**31)))
        yield from draw_windows(patient, scan, path, at, rng)


def draw_places(patient: Patient, rng: np.random.Generator) -> list[tuple[Path, int]]:
    """Paths and the point of each about which a sample is cut."""
    labels = [true_labels(patient, number) for number in range(len(patient.branches))]
    paths = [true_path(patient, labels, number) for number in range(len(patient.branches))]
    places: list[tuple[Path, int]] = []
    for lesion in (patient.lesions[i] for i in rng.permutation(len(patient.lesions))[:LESIONS_PER_PATIENT]):
        path = paths[lesion.branch]
        places += [(path, _any_point(path, lesion.start, lesion.end, rng)) for _ in range(WINDOWS_PER_LESION)]
    for stent in patient.stents:
        path = paths[stent.branch]
        places += [(path, _any_point(path, stent.start, stent.end, rng)) for _ in range(WINDOWS_PER_STENT)]
    sizeable = [i for i, b in enumerate(patient.branches) if len(b.points_mm) > 12 and float(np.max(b.healthy_radius_mm)) > 0.6]
    side = [i for i in sizeable if patient.branches[i].parent is not None]
    for number in rng.permutation(side)[:4]:
        places.append((paths[number], _any_point(paths[number], 0, _ORIGIN_POINTS, rng)))
    for number in rng.choice(sizeable, 6):
        places.append((paths[number], int(rng.integers(paths[number].upstream, len(paths[number].points)))))
    if rng.random() < 0.5 and (vein := _vein_path(patient, rng)) is not None:
        places.append((vein, int(rng.integers(0, len(vein.points)))))
    return [places[i] for i in rng.permutation(len(places))]


def _any_point(path: Path, start: int, end: int, rng: np.random.Generator) -> int:
    """A point of the path between two of its vessel's, or the vessel's last where that has no more."""
    return min(path.upstream + int(rng.integers(start, end + 1)), len(path.points) - 1)


def draw_windows(
    patient: Patient,
    scan: Scan,
    path: Path,
    at: int,
    rng: np.random.Generator,
    *,
    lines: int = LINES_PER_BOX,
    jitter_mm: float | None = None,
) -> list[LesionSample]:
    """Render one box and cut the piece in it along several wrong lines.

    Args:
        patient: whose vessel it is.
        scan: how it is seen.
        path: the vessel.
        at: the point of the path that lies somewhere within the piece.
        rng: decides the piece's place, the lines' errors, voxels and noise.
        lines: samples wanted.
        jitter_mm: root mean square of a line's error to each side; drawn if None.
    """
    true = np.asarray(seen(path.points, patient, scan), np.float64)
    exact = straighten(true[path.upstream :], true[: path.upstream]).points_mm
    middle = int(np.linalg.norm(exact - true[at], axis=1).argmin())
    first = int(np.clip(middle - rng.integers(8, LENGTH - 8), 0, max(len(exact) - LENGTH, 0)))
    volume = rendered_volume(patient, scan, exact[first : first + LENGTH], rng)
    samples = []
    for _ in range(lines):
        amount = float(rng.uniform(0.03, 0.3)) if jitter_mm is None else jitter_mm
        traced = true + wander(true, rng, amount)
        line = straighten(traced[path.upstream :], traced[: path.upstream])
        # a wrong line is a little longer than the true one: begin where it passes the piece's first point
        start = int(np.linalg.norm(line.points_mm - exact[first], axis=1).argmin())
        part = slice(start, start + LENGTH)
        piece = Line(line.points_mm[part], line.along_mm[part])
        truth = path.truth.take(cKDTree(true).query(piece.points_mm)[1])
        error = 1.0 + rng.normal(0.0, 0.035) + rng.normal(0.0, 0.02) * np.linspace(-1.0, 1.0, len(truth.kind))
        samples.append(_sample(cut_channels(volume, piece, scan.vessel_hu * truth.blood * error), truth))
    return samples


def rendered_volume(patient: Patient, scan: Scan, points: Float, rng: np.random.Generator) -> Volume:
    """The box that holds the sections about ``points``, as the scanner would give it."""
    pixel = scan.fov_mm / 512 if scan.fov_mm > 0 else float(rng.uniform(0.33, 0.46))
    spacing = (pixel, pixel, float(np.clip(scan.increment_mm, 0.3, 0.8)))
    low, high = points.min(axis=0) - _MARGIN_MM, points.max(axis=0) + _MARGIN_MM
    size = np.ceil((high - low) / np.asarray(spacing)).astype(int) + 1
    shape = (int(size[2]), int(size[1]), int(size[0]))
    origin = (float(low[0]), float(low[1]), float(low[2]))
    rendered = render(patient, scan, origin=origin, spacing=spacing, shape=shape, seed=int(rng.integers(2**31)))
    return Volume(rendered.hu, Geometry(shape, spacing, origin))


def wander(points: Float, rng: np.random.Generator, amount_mm: float) -> Float:
    """A smooth error of a line, (n, 3): across it, ``amount_mm`` root mean square to each side, over lengths of 2 to 6 mm."""
    if len(points) < 3 or amount_mm <= 0.0:
        return np.zeros_like(points)
    _, normal, binormal = frames(points)
    step = float(np.linalg.norm(np.diff(points, axis=0), axis=1).mean())
    smooth = gaussian_filter1d(rng.normal(0.0, 1.0, (len(points), 2)), float(rng.uniform(2.0, 6.0)) / step / 2, axis=0, mode="nearest")
    smooth *= amount_mm / np.maximum(smooth.std(axis=0), 1e-6)
    return np.asarray(smooth[:, :1] * normal + smooth[:, 1:] * binormal)


def true_labels(patient: Patient, number: int) -> Truth:
    """The truth of a branch, at each of its own points."""
    branch = patient.branches[number]
    count = len(branch.points_mm)
    healthy = np.asarray(branch.healthy_radius_mm, np.float64)
    kind = np.full(count, NONE, np.uint8)
    features = np.zeros((count, len(FEATURES)))
    weight = np.where(2.0 * healthy < _SMALL_MM, _SMALL_WEIGHT, 1.0)
    for stent in patient.stents:
        if stent.branch == number:
            kind[stent.start : stent.end + 1] = STENT
    steps = np.linalg.norm(np.diff(branch.points_mm, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    for lesion in patient.lesions:
        if lesion.branch != number:
            continue
        inside = np.zeros(count, np.bool_)
        inside[lesion.start : lesion.end + 1] = True
        kind[inside & (kind != STENT)] = CLASSES.index(lesion.plaque_type)
        features[inside] = [float(name in lesion.features) for name in FEATURES]
        edge = np.minimum(np.abs(along - along[lesion.start]), np.abs(along - along[lesion.end]))
        weight[edge < _SHOULDER_MM] *= _SHOULDER_WEIGHT
    lumen = np.asarray(branch.lumen_radius_mm, np.float64)
    narrowing = np.clip(1.0 - lumen / np.maximum(healthy, 1e-3), 0.0, 1.0)
    diameters = 2.0 * np.stack([lumen, healthy], axis=1)
    blood = np.ones(count) if branch.look is None else np.asarray(branch.look.contrast, np.float64)
    return Truth(kind=kind, narrowing=narrowing, features=features, diameters=diameters, weight=weight, blood=blood)


def true_path(patient: Patient, labels: list[Truth], number: int) -> Path:
    """A branch with its parents upstream of it."""
    branch = patient.branches[number]
    points, truths = [np.asarray(branch.points_mm, np.float64)], [labels[number]]
    above = 0
    while branch.parent is not None and branch.parent_index is not None:
        parent = patient.branches[branch.parent]
        rows = np.arange(branch.parent_index)
        points.insert(0, np.asarray(parent.points_mm, np.float64)[rows])
        truths.insert(0, labels[branch.parent].take(rows))
        above += len(rows)
        branch = parent
    return Path(points=np.concatenate(points), upstream=above, truth=_joined(truths))


def _joined(truths: list[Truth]) -> Truth:
    return Truth(**{name: np.concatenate([getattr(t, name) for t in truths]) for name in vars(truths[0])})


def _vein_path(patient: Patient, rng: np.random.Generator) -> Path | None:
    """A cardiac vein followed by mistake: nothing in it is plaque."""
    veins = [t for t in patient.tubes if t.kind == "vein" and len(t.points_mm) > 10]
    if not veins:
        return None
    points = np.asarray(veins[int(rng.integers(len(veins)))].points_mm, np.float64)
    count = len(points)
    truth = Truth(
        kind=np.full(count, NONE, np.uint8), narrowing=np.zeros(count), features=np.zeros((count, len(FEATURES))),
        diameters=np.full((count, 2), np.nan), weight=np.full(count, 0.5), blood=np.full(count, float(rng.uniform(0.5, 1.0))),
    )  # fmt: skip
    return Path(points=points, upstream=0, truth=truth)


def _sample(channels: npt.NDArray[np.float32], truth: Truth) -> LesionSample:
    """The sample of what was cut, with padding behind its end."""
    missing = LENGTH - channels.shape[1]
    rows = np.minimum(np.arange(LENGTH), channels.shape[1] - 1)
    whole = truth.take(rows)
    hu, blood = channels[0, rows], channels[1, rows, 0, 0]
    if missing > 0:
        hu[-missing:] = PADDING_HU
        whole.weight[-missing:] = 0.0
        whole.kind[-missing:] = NONE
    return LesionSample(hu=np.rint(hu).astype(np.int16), blood_hu=blood, truth=whole)

"""Training of lesions."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from appliance.analysis.lesion_network import PADDING_HU
from appliance.analysis.runs import ranges_of
from models.networks import lesions
from models.networks.lesions import CLASSES, NONE, SIZES, STENT, DeployedLesions, Lesions, sizes_of
from models.phantom import draw_scan
from models.training.families import load_families
from models.training.lesions_samples import LesionSample, draw_places, draw_windows, lesion_windows
from models.training.patients import virtual_patient
from models.training.task import Arrays, Deployment, Task, Tensors

WATCHED_PATIENTS = 10
PIECES_PER_PATIENT = 16
_CLASS_WEIGHTS = (1.0, 1.5, 1.5, 1.2, 1.0)
_NARROWING_WEIGHT = 1.0
_FEATURES_WEIGHT = 0.4
_SIZES_WEIGHT = 0.25
_TIGHT_WEIGHT = 8.0
_GAIN = 0.03
_OFFSET_HU = 12.0
_SPECK_HU = 10.0
_LEAST_SHARE = 0.5
_LEAST_POSITIONS = 3


def lesions_task() -> Task:
    """Samples, loss and settings of lesions."""
    hu_low, hu_high = lesions.HU_RANGE
    blood_low, blood_high = lesions.BLOOD_RANGE
    kinds = list(CLASSES[1:STENT])
    return Task(
        name="lesions",
        network=Lesions,
        source=lesion_windows,
        make_batch=make_batch,
        loss=lesion_loss,
        score=LesionScore,
        deployment=Deployment(
            graph=DeployedLesions,
            example=example,
            entry={
                "purpose": "plaque along a straightened vessel: where, of which kind, how narrow; stents",
                "spacing_mm": lesions.STEP_MM,
                "multiple": 1,
                "many": True,
                "tile": [lesions.WINDOW, lesions.SIDE, lesions.SIDE],
                "classes": list(CLASSES),
                "channels": [
                    {"name": lesions.CHANNELS[0], "unit": "HU", "low": hu_low, "high": hu_high, "padding": PADDING_HU},
                    {"name": lesions.CHANNELS[1], "unit": "HU", "low": blood_low, "high": blood_high, "padding": 400.0},
                ],
                "outputs": [
                    {"name": "plaque", "role": "share", "axes": 1, "meaning": "probability of plaque in the section"},
                    {"name": "stent", "role": "share", "axes": 1, "meaning": "probability of a stent in the section"},
                    {"name": "kinds", "role": "scores", "axes": 1, "classes": kinds, "meaning": "probability of the kind, given plaque"},
                    {"name": "narrowing", "role": "scores", "axes": 1, "classes": ["narrowing"], "meaning": "part of the diameter missing"},
                    {
                        "name": "features", "role": "scores", "axes": 1, "classes": list(lesions.FEATURES),
                        "meaning": "probability of the feature, given plaque",
                    },
                    {
                        "name": "sizes", "role": "scores", "axes": 1, "classes": list(SIZES),
                        "meaning": "diameters of the lumen and of the lumen without disease in mm, each with its expected error",
                    },
                    {"name": "check", "role": "check", "meaning": "mean absolute score"},
                ],
            },
        ),
        batch=16,
        learning_rate=2e-3,
        pool=2500,
        reuse=5.0,
        share=0.12,
    )  # fmt: skip


def make_batch(samples: list[LesionSample], rng: np.random.Generator) -> Arrays:
    """Vary each sample (turned, mirrored across the vessel, gain, offset, specks) and stack them."""
    varied = [_vary(sample, rng) for sample in samples]
    truths = [sample.truth for sample in samples]
    return {
        "channels": np.stack(varied).astype(np.float32),
        "kind": np.stack([t.kind for t in truths]).astype(np.int64),
        "narrowing": np.stack([t.narrowing for t in truths]).astype(np.float32),
        "features": np.stack([t.features.T for t in truths]).astype(np.float32),
        "diameters": np.stack([t.diameters.T for t in truths]).astype(np.float32),
        "weight": np.stack([t.weight for t in truths]).astype(np.float32),
    }


def _vary(sample: LesionSample, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    hu = np.rot90(sample.hu, int(rng.integers(4)), (1, 2))
    if rng.random() < 0.5:
        hu = hu[:, :, ::-1]
    gain, offset = 1.0 + rng.uniform(-_GAIN, _GAIN), rng.uniform(-_OFFSET_HU, _OFFSET_HU)
    seen = hu * gain + offset + rng.normal(0.0, rng.uniform(0.0, _SPECK_HU), hu.shape)
    # where the volume ended there is nothing to vary
    seen = np.where(hu <= PADDING_HU, PADDING_HU, seen)
    blood = np.broadcast_to((sample.blood_hu * gain + offset)[:, None, None], hu.shape)
    return np.stack([seen, blood]).astype(np.float32)


def lesion_loss(scores: torch.Tensor, batch: Tensors) -> tuple[torch.Tensor, dict[str, float]]:
    """Entropy of the classes, and of narrowing and features as shares, and how improbable the true diameters are, weighted by position.

    Features count inside plaque only, diameters in coronary arteries only. Tight places are rare, a thirtieth of all, and are what matters:
    for narrowing and diameters they weigh more, or what is tight would be drawn towards what is usual.
    """
    kind, narrowing, features, weight, diameters = (batch[name] for name in ("kind", "narrowing", "features", "weight", "diameters"))
    if kind is None or narrowing is None or features is None or weight is None or diameters is None:
        raise ValueError("a batch for lesions needs kind, narrowing, features, diameters and weight")
    scores, count = scores.float(), len(CLASSES)
    share = weight / weight.sum().clamp(min=1.0)
    classes = torch.tensor(_CLASS_WEIGHTS, device=scores.device)
    entropy = (nn.functional.cross_entropy(scores[:, :count], kind, weight=classes, reduction="none") * share).sum()
    binary = nn.functional.binary_cross_entropy_with_logits
    tight = weight * (1.0 + _TIGHT_WEIGHT * narrowing)
    missing = (binary(scores[:, count], narrowing, reduction="none") * tight).sum() / tight.sum().clamp(min=1.0)
    plaque = weight * ((kind != NONE) & (kind != STENT))
    looks = binary(scores[:, count + 1 : -len(SIZES)], features, reduction="none").mean(dim=1)
    seen = (looks * plaque).sum() / plaque.sum().clamp(min=1.0)
    sizes = _size_loss(sizes_of(scores), diameters, tight)
    loss = entropy + _NARROWING_WEIGHT * missing + _FEATURES_WEIGHT * seen + _SIZES_WEIGHT * sizes
    terms = {"loss": loss, "entropy": entropy, "narrowing": missing, "features": seen, "sizes": sizes}
    return loss, {name: float(term.detach()) for name, term in terms.items()}


def _size_loss(sizes: torch.Tensor, diameters: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """Negative log likelihood of both true diameters under Laplace distributions of the network's own widths."""
    known = torch.isfinite(diameters).all(dim=1)
    off = (sizes[:, ::2] - torch.nan_to_num(diameters)).abs()
    unlikely = (off / sizes[:, 1::2] + torch.log(sizes[:, 1::2])).sum(dim=1)
    counted = weight * known
    total: torch.Tensor = (unlikely * counted).sum() / counted.sum().clamp(min=1.0)
    return total


def example() -> torch.Tensor:
    """A made-up vessel (1, 2, WINDOW, SIDE, SIDE) with soft plaque and calcium in its wall."""
    side, length = lesions.SIDE, lesions.WINDOW
    along = torch.arange(length).float()
    axis = torch.arange(side).float() - side // 2
    radius = torch.hypot(axis[:, None], axis[None, :])[None]
    lumen = 4.5 - 0.01 * along - 2.0 * torch.exp(-(((along - 40.0) / 9.0) ** 2))
    hu = torch.where(radius < lumen[:, None, None], 400.0, torch.where(radius < 6.0, 60.0, -90.0))
    calcium = (along > 80) & (along < 95)
    hu[calcium, side // 2 + 5, side // 2 - 2 : side // 2 + 3] = 1000.0
    return torch.stack([hu, torch.full_like(hu, 400.0)])[None]


class LesionScore:
    """Scores the network on pieces of vessels of the development family; rendered once, kept in ``folder``."""

    def __init__(self, folder: Path, *, patients: int = WATCHED_PATIENTS) -> None:
        seeds = load_families()["development"].spread(patients)
        self._pieces = [piece for seed in seeds for piece in _kept(folder / f"development-{seed}.pickle", seed)]

    def __call__(self, network: nn.Module) -> dict[str, float]:
        """Shares of the plaques that are found and whose kind is right, false stretches in 100 mm, error of the narrowing."""
        readings = [read_piece(network, piece) for piece in self._pieces]
        return measure_pieces(self._pieces, readings)


def _kept(path: Path, seed: int) -> list[LesionSample]:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(pickle.dumps(list(development_pieces(seed))))
    pieces: list[LesionSample] = pickle.loads(path.read_bytes())  # noqa: S301 - written by this very function
    return pieces


def development_pieces(seed: int) -> Iterator[LesionSample]:
    """Pieces of a development patient."""
    patient, rng = virtual_patient(seed), np.random.default_rng(seed)
    for path, at in draw_places(patient, rng)[:PIECES_PER_PATIENT]:
        yield from draw_windows(patient, draw_scan(seed), path, at, rng, lines=1)


def read_piece(network: nn.Module, piece: LesionSample) -> dict[str, npt.NDArray[np.float64]]:
    """The deployed graph's answer to one piece, without its first axis; shares as 0..1."""
    device = next(network.parameters()).device
    channels = np.stack([piece.hu.astype(np.float32), np.broadcast_to(piece.blood_hu[:, None, None], piece.hu.shape).astype(np.float32)])
    network.eval()
    with torch.no_grad():
        given = DeployedLesions(network)(torch.from_numpy(channels)[None].to(device))
    named = dict(zip(DeployedLesions.outputs, (g[0].cpu().numpy().astype(np.float64) for g in given), strict=True))
    return {**named, "plaque": named["plaque"] / 255.0, "stent": named["stent"] / 255.0}


def measure_pieces(pieces: list[LesionSample], readings: list[dict[str, npt.NDArray[np.float64]]]) -> dict[str, float]:
    """What `LesionScore` gives, from pieces and readings."""
    found: list[float] = []
    narrow: list[float] = []
    degree: list[float] = []
    off: list[npt.NDArray[np.float64]] = []
    right: dict[int, list[float]] = {}
    false, length = 0, 0.0
    for piece, reading in zip(pieces, readings, strict=True):
        truth = piece.truth
        plaque = (truth.kind != NONE) & (truth.kind != STENT)
        marked = (reading["plaque"] >= _LEAST_SHARE) & (truth.weight > 0)
        counted = (truth.weight >= 1.0) & np.isfinite(truth.diameters).all(axis=1)
        off.append(np.abs(reading["sizes"][counted, ::2] - truth.diameters[counted]))
        by_size = 1.0 - reading["sizes"][:, 0] / np.maximum(reading["sizes"][:, 2], 0.5)
        length += lesions.STEP_MM * float((truth.weight > 0).sum()) / 100.0
        for start, end in ranges_of(plaque):
            if truth.weight[start:end].max() < 1.0 or end - start < _LEAST_POSITIONS:
                continue
            found.append(float(marked[start:end].sum() >= min(_LEAST_POSITIONS, (end - start) // 2)))
            if found[-1]:
                guess = 1 + int((reading["kinds"][start:end] * reading["plaque"][start:end, None]).sum(axis=0).argmax())
                right.setdefault(int(truth.kind[start]), []).append(float(guess == truth.kind[start]))
                worst = float(truth.narrowing[start:end].max())
                narrow.append(abs(float(reading["narrowing"][start:end].max()) - worst))
                degree.append(abs(float(by_size[start:end].max()) - worst))
        false += sum(end - start >= _LEAST_POSITIONS and not plaque[max(start - 2, 0) : end + 2].any() for start, end in ranges_of(marked))
    kinds = [value for values in right.values() for value in values]
    lumen_off, healthy_off = np.concatenate(off).mean(axis=0) if off else (0.0, 0.0)
    by_kind = {f"kind_{CLASSES[k]}": float(np.mean(right[k])) if k in right else 0.0 for k in range(1, STENT)}
    return {
        "found": _mean(found),
        "false_in_100mm": false / max(length, 1e-6),
        "kind_right": _mean(kinds),
        **by_kind,
        "narrowing_error": _mean(narrow),
        "degree_error": _mean(degree),
        "lumen_error_mm": float(lumen_off),
        "healthy_error_mm": float(healthy_off),
    }


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else 0.0

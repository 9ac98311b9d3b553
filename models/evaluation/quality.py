"""How well the network for image quality measures, and whether it takes the better of two phases, on development patients.

python -m models.evaluation.quality --patients 20 [--record]

Each patient is scanned once and reconstructed in mid-diastole and at end-systole, as many sites do; the patches of both phases at half
of the places that the product looks at are rendered (and kept under ``build/evaluation/quality``, so that other weights are scored at
once). The better phase is by definition the one in which the three main arteries move less in the mean; pairs that differ by less than
``TOO_CLOSE_MM`` are left out. Writes ``build/quality-evaluation.json``; ``--record`` puts the table into the model's card.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from appliance.analysis.phases import Phase, best_phase
from appliance.analysis.quality_network import AT_ONCE, SCORES, summarise
from appliance.analysis.quality_places import MAIN_VESSELS, MainVessel, Place
from appliance.inference.catalog import ModelCatalog, installed_catalog
from appliance.inference.choose import best_engine
from appliance.inference.engine import Session
from models.phantom import Scan, draw_scan
from models.phantom.scan import VESSELS, phase_scan
from models.training.families import load_families
from models.training.patients import generator_digest, virtual_patient
from models.training.quality_samples import artery_points, draw_sample, true_places
from models.training.quality_task import rank_correlation

DIASTOLES, SYSTOLES = (70.0, 75.0, 78.0), (35.0, 40.0, 45.0)
TOO_CLOSE_MM = 0.3
PLACES = 4
"""Places rendered for each artery, half of those that the product looks at: rendering is what takes the time here."""
STORE = Path("build/evaluation/quality")
CARD = Path(__file__).resolve().parents[1] / "cards" / "quality.md"
_BLOCK = re.compile(r"<!-- figures -->.*?<!-- end of figures -->", re.DOTALL)
_MEASURED = 5


@dataclass(frozen=True)
class RenderedPhase:
    """The patches of one phase of one patient with their truth, one row per place.

    Attributes:
        percent: of the R-R interval.
        motion_mm: mean over the three arteries of what the scan moved them.
        vessels: index into ``MAIN_VESSELS``.
        hu, measured, present: as in a training sample.
    """

    percent: float
    motion_mm: float
    vessels: npt.NDArray[np.int64]
    hu: npt.NDArray[np.int16]
    measured: npt.NDArray[np.float32]
    present: npt.NDArray[np.float32]


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; 0 when done."""
    parser = argparse.ArgumentParser(prog="python -m models.evaluation.quality", description=__doc__.splitlines()[0])
    parser.add_argument("--patients", type=int, default=20)
    parser.add_argument("--catalog", type=Path, default=installed_catalog())
    parser.add_argument("--out", type=Path, default=Path("build/quality-evaluation.json"))
    parser.add_argument("--record", action="store_true", help="write the figures into the model's card")
    parser.add_argument("--render-only", action="store_true", help="only make the patches ready")
    options = parser.parse_args(arguments)
    pairs = [rendered_pair(seed) for seed in load_families()["development"].spread(options.patients)]
    if options.render_only:
        return 0
    session = best_engine(threads=1).load(ModelCatalog.load(options.catalog)["quality"])
    result = evaluate(pairs, session)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    sys.stdout.write(table(result) + "\n")
    if options.record:
        before, *after = _BLOCK.split(CARD.read_text(encoding="utf-8"), maxsplit=1)
        CARD.write_text(before + table(result) + after[0], encoding="utf-8")
    return 0


def phase_pair(seed: int) -> tuple[Scan, Scan]:
    """The scan of a patient in mid-diastole and at end-systole; the scan's own motion belongs to the one that its phase is nearer to."""
    rng = np.random.default_rng((seed, 91))
    scan = replace(draw_scan(seed), round_field=False)
    design = load_families()["development"].design_of(seed)
    scan = replace(scan, **{name: value for name, value in design.set.items() if name != "motion_mm"})
    diastole, systole = float(rng.choice(DIASTOLES)), float(rng.choice(SYSTOLES))
    own = scan.phase_percent
    if abs(own - diastole) < abs(own - systole):
        diastole = own
    else:
        systole = own
    return phase_scan(scan, diastole), phase_scan(scan, systole)


def rendered_pair(seed: int, *, store: Path = STORE) -> tuple[RenderedPhase, RenderedPhase]:
    """The patches of both phases, from the store where they are there."""
    first, second = (_rendered(seed, number, scan, store / generator_digest()) for number, scan in enumerate(phase_pair(seed)))
    return first, second


def _rendered(seed: int, number: int, scan: Scan, folder: Path) -> RenderedPhase:
    path = folder / f"{seed}-{number}.npz"
    if not path.exists():
        patient, rng = virtual_patient(seed), np.random.default_rng((seed, number))
        places = [place for vessel in MAIN_VESSELS for place in [each for each in true_places(patient) if each.vessel == vessel][:PLACES]]
        arteries = artery_points(patient, scan)
        samples = [draw_sample(patient, scan, arteries, np.asarray(place.point), rng) for place in places]
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(
            path,
            vessels=np.array([MAIN_VESSELS.index(place.vessel) for place in places]),
            hu=np.stack([sample.hu for sample in samples]),
            measured=np.stack([sample.measured for sample in samples]),
            present=np.stack([sample.present for sample in samples]),
        )
    moved = float(np.mean([scan.motion_mm.get(vessel, 0.0) for vessel in VESSELS]))
    with np.load(path) as kept:
        return RenderedPhase(scan.phase_percent, moved, kept["vessels"], kept["hu"], kept["measured"], kept["present"])


def evaluate(pairs: list[tuple[RenderedPhase, RenderedPhase]], session: Session) -> dict[str, Any]:
    """Errors over all patches, and how often the better phase was taken by the header and by the network."""
    scores = [[_scores(phase, session) for phase in pair] for pair in pairs]
    truth = np.concatenate([phase.measured for pair in pairs for phase in pair])
    present = np.concatenate([phase.present for pair in pairs for phase in pair])
    given = np.concatenate([each for pair in scores for each in pair])
    result: dict[str, Any] = {"patients": len(pairs), "patches": len(truth), "model": session.model.sha256}
    for column, name in enumerate(SCORES[:_MEASURED]):
        known = np.isfinite(truth[:, column])
        errors = np.abs(given[known, column] - truth[known, column])
        result[name] = {"n": int(known.sum()), "mean_error": _round(errors.mean()), "p95_error": _round(np.percentile(errors, 95))}
        result[name]["rank"] = _round(rank_correlation(given[known, column], truth[known, column]))
    for column, name in enumerate(SCORES[_MEASURED:]):
        yes, said = present[:, column] > 0.5, given[:, _MEASURED + column] > 0.5
        result[name] = {"n": int(yes.sum()), "found": _share(said & yes, yes), "right_when_said": _share(said & yes, said)}
    result["vessel_motion"] = _vessel_motion(pairs, scores)
    result["phase"] = _choices(pairs, scores)
    return result


def _scores(phase: RenderedPhase, session: Session) -> npt.NDArray[np.float32]:
    channels = phase.hu[:, None].astype(np.float32)
    runs = [session.run(channels[at : at + AT_ONCE])["scores"] for at in range(0, len(channels), AT_ONCE)]
    return np.concatenate(runs)


def _places(phase: RenderedPhase) -> tuple[Place, ...]:
    return tuple(Place(MAIN_VESSELS[int(index)], (0.0, 0.0, 0.0)) for index in phase.vessels)


def _vessel_motion(pairs: list[tuple[RenderedPhase, RenderedPhase]], scores: list[list[npt.NDArray[np.float32]]]) -> dict[str, Any]:
    """Motion of a whole artery, joined as the product does, against the mean of its true local motion."""
    found, true = [], []
    for pair, given in zip(pairs, scores, strict=True):
        for phase, answers in zip(pair, given, strict=True):
            for vessel in summarise(_places(phase), answers).vessels:
                local = phase.measured[phase.vessels == _index(vessel.vessel), 0]
                if np.isfinite(local).any() and vessel.motion_mm is not None:
                    found.append(vessel.motion_mm)
                    true.append(float(np.nanmean(local)))
    a, b = np.array(found, np.float32), np.array(true, np.float32)
    return {"n": len(a), "mean_error": _round(np.abs(a - b).mean()), "rank": _round(rank_correlation(a, b))}


def _index(vessel: MainVessel) -> int:
    return MAIN_VESSELS.index(vessel)


def _choices(pairs: list[tuple[RenderedPhase, RenderedPhase]], scores: list[list[npt.NDArray[np.float32]]]) -> dict[str, Any]:
    header = network = asked = 0
    for pair, given in zip(pairs, scores, strict=True):
        motion = [phase.motion_mm for phase in pair]
        if abs(motion[0] - motion[1]) < TOO_CLOSE_MM:
            continue
        better = int(motion[1] < motion[0])
        asked += 1
        header += best_phase([Phase(str(n), phase.percent, None) for n, phase in enumerate(pair)]) == better
        rated = [summarise(_places(phase), answers) for phase, answers in zip(pair, given, strict=True)]
        network += best_phase([Phase(str(n), phase.percent, rated[n]) for n, phase in enumerate(pair)]) == better
    return {"pairs": asked, "too_close": len(pairs) - asked, "header_right": header, "network_right": network}


def _round(value: float | np.floating[Any]) -> float:
    return round(float(value), 3)


def _share(hits: npt.NDArray[np.bool_], of: npt.NDArray[np.bool_]) -> float | None:
    return _round(hits.sum() / of.sum()) if of.any() else None


def table(result: dict[str, Any]) -> str:
    """The figures as Markdown between the card's marks."""
    units = {
        "motion_mm": "motion, mm",
        "noise_hu": "noise, HU",
        "psf_sigma_mm": "PSF sigma, mm",
        "contrast_hu": "contrast, HU",
        "grade": "grade",
    }
    lines = [
        "<!-- figures -->",
        f"Measured on {result['patients']} virtual patients of the development families (not trained on, made by the same generator),",
        f"two phases each, {result['patches']} patches, with",
        f"`python -m models.evaluation.quality --patients {result['patients']} --record`.",
        "Synthetic figures: they say nothing about how well it reads patients.",
        "",
        "| measured at a place | n | mean error | 95 % of errors below | rank correlation |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {text} | {result[name]['n']} | {result[name]['mean_error']} | {result[name]['p95_error']} | {result[name]['rank']} |"
        for name, text in units.items()
    ]
    whole, phase = result["vessel_motion"], result["phase"]
    lines += [f"| motion of a whole artery, mm | {whole['n']} | {whole['mean_error']} | | {whole['rank']} |", ""]
    lines += ["| present at a place | n | found | right when said |", "|---|---|---|---|"]
    lines += [
        f"| {name} | {result[name]['n']} | {result[name]['found']} | {result[name]['right_when_said']} |" for name in SCORES[_MEASURED:]
    ]
    lines += [
        "",
        f"Better of two phases taken, {phase['pairs']} pairs ({phase['too_close']} more differ by less than {TOO_CLOSE_MM} mm): by the",
    ]
    lines += [f"header alone {phase['header_right']}, by the network {phase['network_right']}.", "<!-- end of figures -->"]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())

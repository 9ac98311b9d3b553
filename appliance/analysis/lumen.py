"""Lumen and outer wall along the tree: the section model of ``section_fit`` at every point.

Blood: the attenuation on the centre line where the vessel is wide enough to show it unblurred, as a slowly falling line from the ostium on;
narrow and distal stretches inherit it from above. Blur: the Gaussian under which healthy wide sections are explained best.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter
from scipy.spatial import cKDTree

from appliance.analysis import section_fit as fit
from appliance.analysis.stages import Float, NamedTree, Profile, Segmentation, Tree, VesselClass
from appliance.geometry import arc_length, frames
from appliance.volume import Geometry, Volume

_BLURS_MM = (0.21, 0.24, 0.275, 0.315, 0.36, 0.41, 0.47, 0.54, 0.62)
_BLUR_SECTIONS = 120
_OCCLUDED_MM = 0.42
"""Below this diameter the fit cannot tell a thread of blood from none."""
_PLATEAU_MM = 15.0
_NEAR_PLATEAU_MM = 7.0
_LEAST_BLOOD = 0.3
"""Blood below this part of its level at the branch's beginning is not believed: the line has left the vessel."""
_HIDING_CALCIUM_MM2 = 0.3
_PLAQUE_HU = 80.0
_WALL_HU = 60.0


@dataclass(frozen=True)
class Blur:
    """Standard deviation of the scanner's point spread in the slice plane and across slices, mm, the voxel's own size included."""

    in_plane_mm: float
    across_mm: float

    def along(self, directions: Float) -> Float:
        """The blur along unit vectors (..., 3)."""
        z2 = directions[..., 2] ** 2
        return np.asarray(np.sqrt(self.in_plane_mm**2 * (1.0 - z2) + self.across_mm**2 * z2))


@dataclass(frozen=True)
class Sections:
    """The polar samples of every point of every branch, one after the other.

    Attributes:
        points: (n, 3). directions: unit vectors of the rays (n, RAYS, 3). rays: HU (n, RAYS, SAMPLES).
        labels: the network's classes, as ``rays``.
        branch: branch of each point (n,). along: distance from the branch's first point (n,).
    """

    points: Float
    directions: Float
    rays: Float
    labels: NDArray[np.uint8]
    branch: NDArray[np.intp]
    along: Float

    def take(self, rows: NDArray[np.intp]) -> Sections:
        """Some of the sections."""
        return Sections(self.points[rows], self.directions[rows], self.rays[rows], self.labels[rows], self.branch[rows], self.along[rows])


@dataclass(frozen=True)
class Fitted:
    """What the fit says of every section, (n,) unless said otherwise; radii per ray (n, RAYS)."""

    lumen_mm: Float
    outer_mm: Float
    lumen_radius: Float
    outer_radius: Float
    wall_hu: Float
    background: Float
    residual: Float
    support: Float


@dataclass(frozen=True)
class LumenResult:
    """One profile per branch, and the sections they come from."""

    profiles: tuple[Profile, ...]
    sections: Sections
    fitted: Fitted
    blood: Float
    blur: Blur
    noise_hu: float

    def rows(self, branch: int) -> slice:
        """The sections of a branch."""
        here = np.flatnonzero(self.sections.branch == branch)
        return slice(int(here[0]), int(here[-1]) + 1)


def measure_lumen(
    named: NamedTree, volume: Volume, segmentation: Segmentation, *, radius_mm: tuple[Float, ...] | None = None
) -> LumenResult:
    """Lumen and outer wall along every branch.

    Args:
        named: the tree.
        volume: the original series; measuring is done in it, not in the resampled grid.
        segmentation: its classes tell calcium from blood where attenuation alone cannot.
        radius_mm: rough lumen radius per branch where known; only the first guess of the fit.
    """
    sections = cut_sections(named, volume, segmentation)
    noise = noise_of(volume)
    guess = np.concatenate(radius_mm) if radius_mm is not None else np.full(len(sections.points), 1.5)
    blood = blood_along(named, sections, guess)
    blur = estimate_blur(sections, blood, guess, noise, volume.geometry)
    result = fit_all(sections, blood, guess, noise, blur)
    # the first fit tells where the vessel is wide, which tells the blood better
    blood = blood_along(named, sections, np.maximum(result.lumen_mm / 2, 0.3), blur=blur)
    result = fit_all(sections, blood, guess, noise, blur)
    profiles = tuple(_profile(result, sections, blood, number) for number in range(len(named.branches)))
    return LumenResult(profiles=profiles, sections=sections, fitted=result, blood=blood, blur=blur, noise_hu=noise)


def cut_sections(named: NamedTree, volume: Volume, segmentation: Segmentation) -> Sections:
    """Sample the volume and the classes along the rays of every section."""
    points, directions, branch, along = [], [], [], []
    angle = 2 * np.pi * np.arange(fit.RAYS) / fit.RAYS
    for number, one in enumerate(named.branches):
        _, normal, binormal = frames(one.points_mm)
        points.append(one.points_mm)
        directions.append(np.cos(angle)[None, :, None] * normal[:, None, :] + np.sin(angle)[None, :, None] * binormal[:, None, :])
        branch.append(np.full(len(one.points_mm), number))
        along.append(arc_length(one.points_mm))
    where, rays_along = np.concatenate(points), np.concatenate(directions)
    rays = np.empty((len(where), fit.RAYS, fit.SAMPLES))
    labels = np.empty(rays.shape, np.uint8)
    fit.sample_rays(volume.voxels, *_index_frames(volume.geometry, where, rays_along), rays)
    fit.label_rays(segmentation.classes, *_index_frames(segmentation.geometry, where, rays_along), labels)
    return Sections(
        points=where, directions=rays_along, rays=rays, labels=labels, branch=np.concatenate(branch), along=np.concatenate(along)
    )


def _index_frames(geometry: Geometry, points: Float, directions: Float) -> tuple[Float, Float, Float]:
    """Centres, and index steps per mm along the rays at 0 and 90 degrees."""
    centre = geometry.to_index(points)
    across = geometry.to_index(points + directions[:, 0]) - centre
    up = geometry.to_index(points + directions[:, fit.RAYS // 4]) - centre
    return centre, across, up


def noise_of(volume: Volume) -> float:
    """Standard deviation of the noise, HU: from differences of near neighbours in blood and muscle, in the middle of the volume."""
    nz, ny, nx = volume.geometry.shape
    part = volume.voxels[nz // 4 : 3 * nz // 4 : 4, ny // 5 : 4 * ny // 5, nx // 5 : 4 * nx // 5].astype(np.float32)
    difference = part[:, :, 3:] - part[:, :, :-3]
    blood_or_muscle = (part[:, :, 3:] > 20) & (part[:, :, :-3] > 20)
    values = difference[blood_or_muscle]
    if values.size < 500:
        return 25.0
    spread = 1.4826 * float(np.median(np.abs(values))) / np.sqrt(2.0)
    return float(np.clip(spread, 8.0, 80.0))


def blood_along(named: NamedTree, sections: Sections, radius: Float, *, blur: Blur | None = None) -> Float:
    """Attenuation of the blood at every point, (n,)."""
    core = np.nanmean(sections.rays[:, :, :2], axis=(1, 2))
    core = np.where(np.isfinite(core), core, 0.0)
    spread = blur.in_plane_mm if blur else 0.4
    wide = radius > 2.6 * spread
    # the blur lets a little of the wall into the very centre, the more the narrower the vessel
    core = _WALL_HU + (core - _WALL_HU) / (1.0 - np.exp(-0.5 * (np.maximum(radius, spread) / spread) ** 2))
    blood = np.zeros(len(core))
    typical = float(np.median(core[wide])) if wide.sum() > 20 else 380.0
    for number, branch in enumerate(named.branches):
        here = np.flatnonzero(sections.branch == number)
        above = typical
        if branch.parent is not None and branch.parent_index is not None:
            parent = np.flatnonzero(sections.branch == branch.parent)
            above = float(blood[parent[min(branch.parent_index, len(parent) - 1)]])
        blood[here] = _plateau(core[here], wide[here], sections.along[here], above)
    return blood


def _plateau(core: Float, wide: NDArray[np.bool_], along: Float, above: float) -> Float:
    """The level of the blood along a branch: it begins at ``above`` and follows the core where the vessel is wide.

    Blood thins out along a vessel, and behind a tight narrowing or an occlusion it may fall to half (transluminal attenuation gradient,
    Choi et al., JACC Cardiovasc Imaging 2011), so what is healthy is told by the neighbours, not by the ostium: sections near the median
    of their window, brighter ones and single dark ones left out. Narrow stretches keep the level from before them.
    """
    possible = wide & (core > _LEAST_BLOOD * above) & (core < 1.25 * above)
    out = np.empty(len(core))
    level = above
    for i in range(0, len(core), 4):
        near = np.abs(along - along[i])
        window = possible & (near <= (_NEAR_PLATEAU_MM if (possible & (near <= _NEAR_PLATEAU_MM)).sum() >= 12 else _PLATEAU_MM))
        if window.sum() >= 5:
            middle = float(np.median(core[window]))
            agreeing = window & (np.abs(core - middle) < 0.15 * middle)
            # ten healthy sections weigh as much as the level so far
            share = float(agreeing.sum()) / (float(agreeing.sum()) + 10.0)
            level = share * float(np.median(core[agreeing])) + (1.0 - share) * level
        out[i : i + 4] = level
    return out


def estimate_blur(sections: Sections, blood: Float, radius: Float, noise: float, geometry: Geometry) -> Blur:
    """The blur under which a sample of wide sections is explained best; a usual one where there are too few."""
    usable = np.flatnonzero((radius > 1.0) & (sections.rays[:, :, :2].mean(axis=(1, 2)) > 0.8 * blood))
    if len(usable) < 30:
        voxel = np.asarray(geometry.spacing) / np.sqrt(12.0)
        return Blur(float(np.hypot(0.32, voxel[0])), float(np.hypot(0.35, voxel[2])))
    chosen = usable[:: max(1, len(usable) // _BLUR_SECTIONS)]
    part = sections.take(chosen)

    def misfit(in_plane: float, across: float) -> float:
        fitted = fit_all(part, blood[chosen], radius[chosen], noise, Blur(in_plane, across))
        # the median: sections that hold a second vessel or calcium are no witnesses
        return float(np.median(fitted.residual**2))

    size = _lowest(_BLURS_MM, lambda s: misfit(s, s))
    ratio = _lowest((0.76, 0.87, 1.0, 1.15, 1.32), lambda f: misfit(size * f, size / f))
    return Blur(in_plane_mm=size * ratio, across_mm=size / ratio)


def _lowest(places: tuple[float, ...], value: Callable[[float], float]) -> float:
    """Where ``value`` is lowest: the best of ``places``, moved by the parabola through it and its neighbours (in the logarithm)."""
    known: dict[int, float] = {}

    def at(i: int) -> float:
        if i not in known:
            known[i] = value(places[i])
        return known[i]

    best = min(range(0, len(places), 2), key=at)
    best = min(range(max(best - 1, 0), min(best + 2, len(places))), key=at)
    if best in (0, len(places) - 1):
        return places[best]
    low, middle, high = at(best - 1), at(best), at(best + 1)
    bend = low - 2 * middle + high
    shift = float(np.clip(0.5 * (low - high) / bend, -0.5, 0.5)) if bend > 1e-9 else 0.0
    step = np.log(places[best + 1] / places[best - 1]) / 2
    return float(places[best] * np.exp(shift * step))


def fit_all(sections: Sections, blood: Float, radius: Float, noise: float, blur: Blur) -> Fitted:
    """Fit the section model everywhere."""
    count = len(sections.points)
    disc, slope = fit.blurred_disc()
    parameters = np.zeros((count, fit.PARAMETERS))
    background = np.zeros((count, fit.RAYS))
    residual, support = np.zeros(count), np.zeros(count)
    fit.fit_sections(
        sections.rays, sections.labels, blood, blur.along(sections.directions), radius, np.full(count, noise), disc, slope,
        parameters, background, residual, support,
    )  # fmt: skip
    angle = 2 * np.pi * np.arange(fit.RAYS) / fit.RAYS
    basis = np.stack([np.ones_like(angle), np.cos(angle), np.sin(angle), np.cos(2 * angle), np.sin(2 * angle)])
    inner = np.maximum(parameters[:, :5] @ basis, 0.05)
    outer = inner + np.maximum(parameters[:, 5:8] @ basis[:3], 0.1)
    return Fitted(
        lumen_mm=_equivalent(inner),
        outer_mm=_equivalent(outer),
        lumen_radius=inner,
        outer_radius=outer,
        wall_hu=parameters[:, 8],
        background=background,
        residual=residual,
        support=support / (fit.RAYS * fit.SAMPLES),
    )


def _equivalent(radius: Float) -> Float:
    """Diameter of the circle of equal area."""
    return np.asarray(2.0 * np.sqrt((radius**2).mean(axis=1)))


def _profile(result: Fitted, sections: Sections, blood: Float, number: int) -> Profile:
    here = sections.branch == number
    inner = result.lumen_radius[here]
    half = fit.RAYS // 2
    through = inner[:, :half] + inner[:, half:]
    cells = calcium_cells(sections.rays[here], sections.labels[here], blood[here], result.outer_radius[here])
    calcium = np.asarray((cells * cell_areas()).sum(axis=(1, 2)))
    lumen = _smooth(_through_calcium(result.lumen_mm[here], calcium, sections.along[here]))
    lumen = np.where(lumen < _OCCLUDED_MM, 0.0, lumen)
    outer = np.maximum(_smooth(result.outer_mm[here]), lumen + 0.2)
    closed = lumen == 0.0
    return Profile(
        lumen_mm=lumen,
        narrowest_mm=np.where(closed, 0.0, through.min(axis=1)),
        widest_mm=np.where(closed, 0.0, through.max(axis=1)),
        vessel_mm=outer,
        calcium_mm2=calcium,
        lumen_hu=blood[here],
        noise_hu=result.residual[here],
        quality=np.clip(result.support[here] / 0.35, 0.0, 1.0) * np.clip(60.0 / np.maximum(result.residual[here], 20.0), 0.2, 1.0),
    )


def _through_calcium(lumen: Float, calcium: Float, along: Float) -> Float:
    """Sections in which calcium leaves no lumen to be seen cannot tell an occlusion from blooming: they take their neighbours' values."""
    hidden = (lumen < _OCCLUDED_MM) & (calcium > _HIDING_CALCIUM_MM2)
    if not hidden.any() or hidden.all():
        return lumen
    return np.asarray(np.where(hidden, np.interp(along, along[~hidden], lumen[~hidden]), lumen))


def _smooth(value: Float) -> Float:
    """Median of three, then a light binomial: single sections may fail, lesions are longer than that."""
    if len(value) < 5:
        return value
    calm = median_filter(value, 3, mode="nearest")
    padded = np.pad(calm, 1, mode="edge")
    return np.asarray(0.25 * padded[:-2] + 0.5 * padded[1:-1] + 0.25 * padded[2:])


def calcium_cells(rays: Float, labels: NDArray[np.uint8], blood: Float, outer: Float) -> NDArray[np.bool_]:
    """True for the cells (n, RAYS, SAMPLES) of calcium.

    What the network calls calcium, and what is denser than half way between soft plaque and the section's densest calcium: the half-way
    rule makes the blurred edge lie where the true one is. Without anything clearly denser than the blood only the network is asked.
    """
    radius = np.arange(fit.SAMPLES) * fit.SAMPLE_MM
    within = radius[None, None, :] <= (outer + 0.6)[:, :, None]
    values = np.where(within & np.isfinite(rays), rays, -1000.0)
    peak = values.max(axis=(1, 2))
    floor = blood + np.maximum(140.0, 0.35 * blood)
    threshold = np.where(peak > floor, np.maximum(0.5 * (peak + _PLAQUE_HU), blood + 100.0), np.inf)
    seen = within & (labels == VesselClass.CALCIUM) & (rays > 130.0)
    return np.asarray((values > threshold[:, None, None]) | seen)


def cell_areas() -> Float:
    """Area in mm2 of a cell at each sample of a ray, (SAMPLES,)."""
    return np.asarray(np.arange(fit.SAMPLES) * fit.SAMPLE_MM**2 * 2 * np.pi / fit.RAYS)


def radius_guess(tree: Tree, named: NamedTree) -> tuple[Float, ...]:
    """Rough lumen radius of every point of the named tree, from the mask's."""
    points = np.concatenate([branch.points_mm for branch in tree.branches])
    radius = np.concatenate([branch.radius_mm for branch in tree.branches])
    search = cKDTree(points)
    return tuple(np.clip(radius[search.query(branch.points_mm)[1]] - 0.45, 0.5, 3.5) for branch in named.branches)

"""What a virtual patient, a virtual scan and a rendered volume are."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[Any]
Vector = tuple[float, float, float]
Segment = tuple[int, int, str]


@dataclass(frozen=True)
class Grid:
    """A regular grid in DICOM patient coordinates (LPS); arrays on it are indexed (z, y, x)."""

    origin: Vector
    spacing: float
    shape: tuple[int, int, int]

    def points(self) -> FloatArray:
        """Positions of all voxels, (n, 3) float32, mm."""
        nz, ny, nx = self.shape
        x = self.origin[0] + self.spacing * np.arange(nx, dtype=np.float32)
        y = self.origin[1] + self.spacing * np.arange(ny, dtype=np.float32)
        z = self.origin[2] + self.spacing * np.arange(nz, dtype=np.float32)
        zz, yy, xx = np.meshgrid(z, y, x, indexing="ij")
        return np.stack([xx.ravel(), yy.ravel(), zz.ravel()], axis=1)


@dataclass(frozen=True)
class Branch:
    """One whole anatomical run of a coronary artery, proximal to distal.

    Positions are mm in LPS with a step of at most 0.5 mm. `outer_radius_mm` is the radius of the outer wall, whose centre lies
    `outer_offset_mm` away from the lumen centre (eccentric plaque). A lumen radius of 0 is an occlusion.
    """

    id: int
    parent: int | None
    parent_index: int | None
    name: str
    vessel: str
    points_mm: FloatArray
    lumen_radius_mm: FloatArray
    outer_radius_mm: FloatArray
    outer_offset_mm: FloatArray
    healthy_radius_mm: FloatArray
    segments: tuple[Segment, ...]


@dataclass(frozen=True)
class Blob:
    """An ellipsoid of calcium or of low-attenuation core inside a vessel wall: centre, three unit axes as rows, half-axes (mm)."""

    centre: FloatArray
    axes: FloatArray
    radii: FloatArray
    kind: str
    hu: float


@dataclass(frozen=True)
class Lesion:
    """One plaque: the stretch of a branch whose wall is thickened, the place of its smallest lumen and its make-up."""

    branch: int
    start: int
    minimum: int
    end: int
    diameter_stenosis_percent: float
    plaque_type: str
    remodeling_index: float
    volume_mm3: dict[str, float]
    blobs: tuple[Blob, ...] = ()


@dataclass(frozen=True)
class Tube:
    """What is no coronary artery: a cardiac vein (`vein`), a pulmonary vessel (`lung`), calcium elsewhere (`calcification`)."""

    kind: str
    points_mm: FloatArray
    radius_mm: FloatArray


@dataclass(frozen=True)
class Patient:
    """A virtual patient; the same seed always gives the same one."""

    seed: int
    sex: str
    age: int
    name: str
    grid: Grid
    channels: FloatArray  # (z, y, x, c) int16, hundredths of a millimetre, negative inside
    channel_names: tuple[str, ...]
    branches: tuple[Branch, ...]
    lesions: tuple[Lesion, ...]
    dominance: str
    ostia: dict[str, Vector]
    tubes: tuple[Tube, ...]
    heart_box: tuple[Vector, Vector]
    cache: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def channel(self, name: str) -> FloatArray:
        """Signed distance (mm, float32) of one structure on the patient's grid."""
        return self.channels[..., self.channel_names.index(name)].astype(np.float32) * np.float32(0.01)


@dataclass(frozen=True)
class Scan:
    """How the virtual CT looks at a patient."""

    seed: int
    kvp: float
    ma: float
    vessel_hu: float
    noise_hu: float
    psf_sigma_mm: tuple[float, float]
    right_heart_hu: float
    vein_hu: float
    myocardium_hu: float
    phase_percent: float
    kernel: str
    noise_coarseness: float
    fat_hu: float


@dataclass(frozen=True)
class Rendered:
    """A rendered volume: attenuation and two label maps, all (z, y, x)."""

    hu: npt.NDArray[np.int16]
    structures: npt.NDArray[np.uint8]
    vessels: npt.NDArray[np.uint8]

"""What a virtual patient, a virtual scan and a rendered volume are."""

from __future__ import annotations

from collections.abc import Mapping
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
    """One whole anatomical run of a coronary artery or of a bypass graft (`kind`), proximal to distal.

    Positions are mm in LPS with a step of at most 0.5 mm. `outer_radius_mm` is the radius of the outer wall, whose centre lies
    `outer_offset_mm` away from the lumen centre (eccentric plaque). A lumen radius of 0 is an occlusion. `bridges` are stretches under
    heart muscle: half-open index ranges, with the greatest depth (mm) of the vessel's outer wall under the muscle's surface.
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
    kind: str = "native"
    bridges: tuple[tuple[int, int, float], ...] = ()
    look: Look | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Look:
    """How a branch looks beyond its radii; one row or value per point.

    `shape` columns: a unit vector across the vessel, the second and third harmonic (e2, e3) of the squared lumen radius about it and
    the skew of the lumen's attenuation along it. The lumen's area stays that of the branch's lumen radius. `contrast` is the lumen's
    attenuation relative to the aorta, `wall_hu` that of wall and non-calcified plaque, `halo_hu` what oedema adds to the fat beside.
    """

    shape: FloatArray
    contrast: FloatArray
    wall_hu: FloatArray
    halo_hu: FloatArray


@dataclass(frozen=True)
class Blob:
    """An ellipsoid inside a vessel wall: centre, three unit axes as rows, half-axes (mm).

    Kinds: "calcium", "soft" (core of low attenuation), "rim" (the denser, non-calcified ring around a core).
    """

    centre: FloatArray
    axes: FloatArray
    radii: FloatArray
    kind: str
    hu: float


@dataclass(frozen=True)
class Sheet:
    """Calcium that follows the wall of a branch from point `start`, over `half_arc` (rad) to both sides of `direction` (n, 3).

    `depth` is where it lies: shares of the wall's thickness, 0 at the lumen, 1 at the outer wall.
    """

    start: int
    direction: FloatArray
    half_arc: FloatArray
    depth: tuple[float, float]
    hu: float


@dataclass(frozen=True)
class Lesion:
    """One plaque: the stretch of a branch whose wall is thickened, the place of its smallest lumen and its make-up.

    `diameter_stenosis_percent`: area-equivalent lumen against the healthy radius at the same place. `plaque_type`, `volume_mm3` and
    `features` ("napkin_ring", "spotty", "low_attenuation", "positive_remodeling") are counted on the renderer's own fine labels.
    `site` is "focal", "ostial", "bifurcation" or "diffuse"; `calcium_share` is calcium against all plaque, the healthy wall excluded.
    """

    branch: int
    start: int
    minimum: int
    end: int
    diameter_stenosis_percent: float
    plaque_type: str
    remodeling_index: float
    volume_mm3: dict[str, float]
    blobs: tuple[Blob, ...] = ()
    sheets: tuple[Sheet, ...] = ()
    features: frozenset[str] = frozenset()
    site: str = "focal"
    calcium_share: float = 0.0
    plaque_burden_percent: float = 0.0


@dataclass(frozen=True)
class Stent:
    """A metal stent: wires on the lumen's surface from point `start` to `end` of a branch.

    `struts` has one row per wire piece: start, end (mm, LPS) and radius (mm). `hu` is the metal's own attenuation, far above the end of
    the CT scale: what is seen comes from partial volume and blur. Labels: the lumen inside stays lumen, the wires count as wall, for a
    stent is no calcium.
    """

    branch: int
    start: int
    end: int
    diameter_mm: float
    strut_radius_mm: float
    pitch_mm: float
    hu: float
    in_stent_stenosis_percent: float
    struts: FloatArray = field(repr=False)


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
    variants: tuple[str, ...] = ()
    heart_model: str = ""
    stents: tuple[Stent, ...] = ()
    cache: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def channel(self, name: str) -> FloatArray:
        """Signed distance (mm, float32) of one structure on the patient's grid."""
        return self.channels[..., self.channel_names.index(name)].astype(np.float32) * np.float32(0.01)


@dataclass(frozen=True)
class Step:
    """A stair-step: from `z_mm` upwards (to the next step) the image shows the patient displaced by `shift_mm` (LPS).

    `z_mm` is measured from the middle of the patient's grid. Below the first step nothing is displaced. Labels move with the image.
    """

    z_mm: float
    shift_mm: Vector


@dataclass(frozen=True)
class Ghost:
    """A double contour by breathing: between two heights (mm from the middle of the patient's grid) a displaced image is mixed in.

    The labels stay those of the undisplaced image.
    """

    bottom_mm: float
    top_mm: float
    shift_mm: Vector
    share: float


@dataclass(frozen=True)
class Scan:
    """How the virtual CT looks at a patient.

    All fields after `fat_hu` have defaults that mean 'a perfect scan', so that a test can switch on one effect at a time.
    """

    seed: int
    kvp: float  # tube voltage, kV
    ma: float  # tube current, mA
    vessel_hu: float  # blood in the ascending aorta
    noise_hu: float  # standard deviation in the middle of the heart; elsewhere times the path-length map
    psf_sigma_mm: tuple[float, float]  # Gaussian sigma in the slice and along z (z includes the slice thickness)
    right_heart_hu: float  # blood in the right atrium; SVC, RV and pulmonary artery follow
    vein_hu: float  # cardiac veins and coronary sinus
    myocardium_hu: float
    phase_percent: float  # of the R-R interval
    kernel: str  # one of models.phantom.scan.KERNELS
    noise_coarseness: float  # width of the noise grain, 1 = typical
    fat_hu: float
    contrast: bool = True  # False: a calcium-scoring scan without contrast medium
    heart_rate: float = 60.0  # beats a minute
    motion_mm: Mapping[str, float] = field(default_factory=dict, hash=False)  # LAD, LCX, RCA: path over the window where it moves most
    motion_direction: Mapping[str, Vector] = field(default_factory=dict, hash=False)  # unit vectors of that path, LPS
    motion_doubling: float = 0.0  # 0: even speed (blur); 1: at rest at both ends of the path (double contour)
    motion_angle_deg: float = 0.0  # where the tube stands when the acquisition window begins
    heart_motion_mm: float = 0.0  # path of the chambers' walls over the window: their borders become ramps that wide
    steps: tuple[Step, ...] = ()
    ghost: Ghost | None = None
    edge_enhancement: float = 0.0  # of sharp kernels: PSF = (1 + e) G(s) - e G(1.7 s) along each axis of the slice
    reconstruction: str = "fbp"  # 'fbp', 'iterative' or 'deep-learning': the texture of the noise
    iterative_strength: float = 0.0  # 0 to 1
    slice_thickness_mm: float = 0.5
    increment_mm: float = 0.5
    fov_mm: float = 0.0  # edge of the reconstructed square; 0: fitted to the heart
    round_field: bool = False  # nothing (-1024 HU, no labels) outside the circle of `fov_mm` around the middle of the patient's grid
    cut_mm: tuple[float, float] = (0.0, 0.0)  # how much of the heart is missing below and above in a whole series
    beam_hardening: float = 0.0  # 1: as left over by a usual correction; dark bands between dense things
    streaks: float = 0.0  # 1: usual streaks from flowing dense contrast medium and metal
    metal: tuple[str, ...] = ()  # out of 'lead', 'wires', 'valve'
    body_mm: tuple[float, float] = (0.0, 0.0)  # half-axes of the chest (lateral, front to back); 0: noise map is flat
    arms_down: bool = False  # arms beside the chest: horizontal noise


@dataclass(frozen=True)
class Rendered:
    """A rendered volume: attenuation and two label maps, all (z, y, x)."""

    hu: npt.NDArray[np.int16]
    structures: npt.NDArray[np.uint8]
    vessels: npt.NDArray[np.uint8]

"""Virtual patients and a virtual CT: exact truth for everything (numpy, scipy and numba only)."""

from models.phantom.patient import draw_patient
from models.phantom.render import render
from models.phantom.scan import draw_scan
from models.phantom.truth import truth
from models.phantom.types import Blob, Branch, Grid, Lesion, Patient, Rendered, Scan, Tube

__all__ = [
    "Blob", "Branch", "Grid", "Lesion", "Patient", "Rendered", "Scan", "Tube", "draw_patient", "draw_scan", "render", "truth",
]  # fmt: skip

"""How well a line follows the furrows of the heart in which the main coronaries run."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from appliance.analysis.stages import Float, Structure
from appliance.analysis.surroundings import Surroundings
from appliance.geometry import arc_length


@dataclass(frozen=True)
class Course:
    """Where each point of a line lies, (n,) each; distances in mm, negative inside.

    Attributes:
        along: distance from the first point.
        left_atrium, right_atrium, right_ventricle, left_ventricle: signed distances (the left ventricle with its muscle).
        height: along the left ventricle's axis, 0 base, 1 apex.
        angle: about that axis, see ``VentricleFrame``.
    """

    along: Float
    left_atrium: Float
    right_atrium: Float
    right_ventricle: Float
    left_ventricle: Float
    height: Float
    angle: Float

    @property
    def anterior_groove(self) -> Float:
        """0..1: in the anterior interventricular groove."""
        front = ((self.angle > 0.0) & (self.height > -0.15)) | (self.height > 0.85)
        septal = np.clip(1.0 + (self.left_ventricle + 2.0) / 2.0, 0.0, 1.0)
        return _near(self.right_ventricle, 9.0) * _near(self.left_ventricle, 10.0) * front * septal

    @property
    def posterior_groove(self) -> Float:
        """0..1: in the posterior interventricular groove."""
        back = (self.angle < 0.0) & (self.height > -0.1)
        return _near(self.right_ventricle, 7.0) * _near(self.left_ventricle, 9.0) * back

    @property
    def left_groove(self) -> Float:
        """0..1: in the left atrioventricular groove."""
        return _near(self.left_atrium, 8.0) * _near(self.left_ventricle, 9.0)

    @property
    def right_groove(self) -> Float:
        """0..1: in the right atrioventricular groove."""
        return _near(self.right_atrium, 9.0) * _near(self.right_ventricle, 9.0)


def _near(distance: Float, reach: float) -> Float:
    return np.asarray(np.exp(-((np.maximum(distance, 0.0) / reach) ** 2)))


def course_of(points: Float, surroundings: Surroundings) -> Course:
    """The course of a line; heights and angles are 0 where the left ventricle's frame is unknown."""
    frame = surroundings.frame
    zero = np.zeros(len(points))
    return Course(
        along=arc_length(points),
        left_atrium=surroundings.distance(points, Structure.LEFT_ATRIUM),
        right_atrium=surroundings.distance(points, Structure.RIGHT_ATRIUM),
        right_ventricle=surroundings.distance(points, Structure.RV),
        left_ventricle=surroundings.distance(points, Structure.LV, Structure.LV_MYOCARDIUM),
        height=frame.height(points) if frame else zero,
        angle=frame.angle(points) if frame else zero,
    )


def gain(course: Course, groove: Float, price: float) -> float:
    """Millimetres that a line spends in a groove, less ``price`` for every millimetre that it runs."""
    step = np.gradient(course.along) if len(course.along) > 1 else np.zeros(1)
    return float(((groove - price) * step).sum())

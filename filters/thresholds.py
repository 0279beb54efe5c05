"""The limits of a profile: what a pair must show to be accepted. Plain validated data, light to import."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]


class GeometryThresholds(BaseModel):
    """Limits of the geometric judge; what each figure is stands at `filters.geometry.GeometryScores`.

    Shares are of the width, or of the thing itself; percent_error is in percent points of the width or height.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    centre_error: Share = 0.01
    percent_error: Annotated[float, Field(ge=0, le=100)] = 1.0
    metre_error: Annotated[float, Field(ge=0, le=10)] = 0.02
    degree_error: Annotated[float, Field(ge=0, le=180)] = 1.0
    factor_error: Share = 0.08
    holds: Share = 0.93
    unnamed_shift: Annotated[float, Field(ge=0, le=10)] = 1e-6
    unnamed_mask: Share = 0.0
    change_inside: Share = 0.012
    change_outside: Share = 0.02
    visible_subject: Share = 0.95
    visible_new: Share = 0.8
    visible_others: Share = 0.3
    seam: Annotated[float, Field(ge=0, le=100)] = 2.5

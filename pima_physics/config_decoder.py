"""The decoder of a modality in the experiment file: a network, or a simulator with parameters."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError


def problem(expected: str, fix: str) -> PydanticCustomError:
    """Return an error that says what would have been right and what to do."""
    return PydanticCustomError("pima", "{expected}", {"expected": expected, "fix": fix})


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise problem("a finite number", "leave it out (or null) where there is no limit")
    return value


Finite = Annotated[float, AfterValidator(_finite)]
Width = Annotated[int, Field(ge=1, le=65_536)]


class Section(BaseModel):
    """A mapping of the file: unknown keys are errors and values keep their types."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ParameterSpec(Section):
    """What the file changes about one parameter of a simulator, in ``units``.

    ``variable`` names the variable of the data that it is known from, sample by sample; with
    ``common`` it is inferred, and has one value for all samples.
    """

    bounds: list[Finite | None] | None = None
    min: Finite | None = None
    max: Finite | None = None
    value: Finite | None = None
    units: str | None = None
    vary: bool = True
    variable: Annotated[str, Field(min_length=1)] | None = None
    common: bool = False
    scale: Literal["linear", "log"] | None = None

    @property
    def limits(self) -> tuple[float | None, float | None]:
        """Lower and upper bound, however they were written."""
        low, high = self.bounds if self.bounds is not None else (self.min, self.max)
        return low, high

    @model_validator(mode="after")
    def _consistent(self) -> ParameterSpec:
        if self.bounds is not None and len(self.bounds) != 2:
            raise problem("bounds: [lowest, highest]", "give two numbers (null for no limit)")
        if self.bounds is not None and (self.min is not None or self.max is not None):
            raise problem("either bounds or min and max", "keep one of the two ways")
        if self.variable is not None and {"value", "vary", "common"} & self.model_fields_set:
            raise problem("either variable, or value and vary, or common", "keep one way")
        if self.common and not self.vary:
            raise problem("either common or vary: false", "a fixed parameter is common anyway")
        low, high = self.limits
        if low is not None and high is not None and not low < high:
            raise problem("a lower bound below the upper one", f"did you mean [{high}, {low}]?")
        if self.scale == "log" and low is not None and low <= 0:
            raise problem(
                "a positive lower bound with scale: log", "raise it, or use scale: linear"
            )
        below = low is not None and self.value is not None and self.value < low
        above = high is not None and self.value is not None and self.value > high
        if below or above:
            raise problem(f"a value between {low} and {high}", "change the value or the bounds")
        return self

    def changes(self) -> dict[str, Any]:
        """Return what was written, as ``Parameter.replace`` takes it."""
        written = self.model_dump(include=self.model_fields_set - {"bounds", "min", "max"})
        low, high = self.limits
        if low is not None and high is not None:
            written["bounds"] = [low, high]
        else:
            written |= {k: v for k, v in (("min", low), ("max", high)) if v is not None}
        return {key: value for key, value in written.items() if value is not None}


class Network(Section):
    """Sizes of the networks of a modality (with physics: of its encoder)."""

    hidden: Annotated[list[Width], Field(min_length=1, max_length=32)] = [128, 64]


class Decoder(Section):
    """Neural or physical: exactly one of the two."""

    neural: Literal["auto", "mlp", "conv"] | None = None
    network: Network = Network()
    physics: Annotated[str, Field(min_length=1)] | None = None
    per: Literal["sample", "component"] = "sample"
    observe: str | None = None
    parameters: dict[str, ParameterSpec] = {}
    discrepancy: bool = False

    @model_validator(mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if value is None:
            return {}
        if not isinstance(value, str):
            return value
        if value not in ("auto", "mlp", "conv"):
            raise problem(
                "mlp, conv or auto (a network), or a mapping with the key physics",
                f"for a simulator write {{physics: {value}}}",
            )
        return {"neural": value}

    @model_validator(mode="after")
    def _one_kind(self) -> Decoder:
        if self.neural is not None and self.physics is not None:
            raise problem("either neural or physics", "remove one of the two")
        physical = {"per", "observe", "parameters", "discrepancy"} & self.model_fields_set
        if self.physics is None and physical:
            raise problem(
                f"the key physics beside {', '.join(sorted(physical))}",
                "name the simulator: physics: NAME (pima-physics simulators lists them)",
            )
        return self

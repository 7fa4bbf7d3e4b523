"""The experiment file as pydantic models: one class for each mapping, defaults where they are read.

Only shapes, types and ranges are checked here, each where it stands in the file, so that pydantic
reports every offender at once. What needs several parts of the file or the data is in ``config``.
"""

from __future__ import annotations

import keyword
import math
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    Tag,
    field_validator,
    model_validator,
)

from pima_physics.config_decoder import Decoder, Section, problem

MAX_COMPONENTS = 65_536
"""Largest product of outcomes: beyond it the joint table of the nodes would not fit."""

RESERVED_NODES = ("samples", "seed", "data", "self")
"""Names that ``result.intervene(samples=..., seed=..., node=outcome)`` needs for itself."""


def _node_name(name: str) -> str:
    if name in RESERVED_NODES or keyword.iskeyword(name):
        raise problem("another name: this one has a meaning of its own", f"call it {name}_node")
    if not name.isidentifier():
        raise problem(
            "a name of letters, digits and underscores that starts with a letter",
            f"call it {_identifier(name)}",
        )
    return name


def _modality_name(name: str) -> str:
    if not re.fullmatch(r"\w[\w-]*", name):
        raise problem(
            "a name of letters, digits, underscores and hyphens (it names groups and options)",
            f"call it {_identifier(name)}",
        )
    return name


def _identifier(name: str) -> str:
    clean = re.sub(r"\W+", "_", name).strip("_") or "name"
    return clean if clean[0].isalpha() else f"n_{clean}"


def _edge(value: Any) -> Any:
    if isinstance(value, list) and len(value) == 2 and all(isinstance(n, str) for n in value):
        if value[0] == value[1]:
            raise problem("an edge between two different nodes", "remove it")
        return value
    raise problem("an edge [parent, child]", "write a list of pairs, such as [[parent, child]]")


def _tier(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


NodeName = Annotated[str, AfterValidator(_node_name)]
ModalityName = Annotated[str, AfterValidator(_modality_name)]
Edge = Annotated[list[str], BeforeValidator(_edge)]
Tier = Annotated[list[str], BeforeValidator(_tier)]
Outcomes = Annotated[int, Field(ge=2, le=MAX_COMPONENTS)]
Fraction = Annotated[float, Field(ge=0, lt=1)]


def _form(value: Any) -> str:
    return "<text>" if isinstance(value, str) else "<other>"


# A discriminator makes pydantic report one form only; its tag, in <>, is left out of messages.
Variable = Annotated[
    Annotated[str, Field(min_length=1), Tag("<text>")]
    | Annotated[list[str], Field(min_length=1), Tag("<other>")],
    Discriminator(_form),
]
Nodes = Annotated[
    Annotated[Literal["auto"], Tag("<text>")]
    | Annotated[dict[NodeName, Outcomes], Field(min_length=1), Tag("<other>")],
    Discriminator(_form),
]


class Modality(Section):
    """One kind of observation: variables of the data file and how they are generated.

    ``coordinates`` maps a dimension to the variable that holds an own grid for each sample.
    """

    variable: Variable | None = None
    units: str | None = None
    likelihood: Literal["normal", "student_t", "bernoulli", "poisson"] = "normal"
    decoder: Decoder = Decoder()
    coordinates: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _empty(cls, value: Any) -> Any:
        return {} if value is None else value

    @field_validator("variable", mode="after")
    @classmethod
    def _once_each(cls, value: str | list[str] | None) -> str | list[str] | None:
        if isinstance(value, list) and len(set(value)) < len(value):
            raise problem("each variable once", "remove the one that is repeated")
        return value

    @model_validator(mode="after")
    def _one_curve(self) -> Modality:
        if self.decoder.physics is not None and isinstance(self.variable, list):
            raise problem(
                "one variable with a physics decoder",
                "make one modality for each variable that the simulator gives",
            )
        return self


class Latent(Section):
    """The continuous latent space."""

    dim: Annotated[int, Field(ge=1, le=1024)] = 4


class Graph(Section):
    """What is known about the graph of the nodes."""

    tiers: list[Tier] = Field(default_factory=list)
    forbidden: list[Edge] = Field(default_factory=list)
    required: list[Edge] = Field(default_factory=list)
    order: list[str] | None = None
    roots: list[str] = Field(default_factory=list)


class Interventions(Section):
    """Which variable says on which node a sample was intervened, and which what it was set to.

    ``kind`` is what that does to the node: "perfect" sets it; "stochastic" cuts it off its parents
    and gives it a distribution of its own; "soft" keeps the parents under another table.
    """

    target: str
    value: str | None = None
    kind: Literal["perfect", "stochastic", "soft"] = "perfect"


class Training(Section):
    """How the model is fitted."""

    epochs: Annotated[int, Field(ge=1)] = 200
    batch_size: Annotated[int, Field(ge=1)] = 128
    learning_rate: Annotated[float, Field(gt=0, le=1e6)] = 3e-3
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    restarts: Annotated[int, Field(ge=1)] = 1
    bootstrap: Annotated[int, Field(ge=0)] = 0
    jobs: Annotated[int, Field(ge=1)] = 1
    patience: Annotated[int, Field(ge=1)] | None = None
    dtype: Literal["float32", "float64"] = "float32"
    autocast: Literal["none", "bfloat16"] = "none"
    cuda_graphs: bool = True
    warmup_fraction: Fraction | None = None
    discovery: bool = True


class SplitSpec(Section):
    """Fractions of the samples that are kept out of training, and which samples stay together.

    ``groups`` is a variable: samples with the same value (of one specimen, one simulation) go to
    the same part, and count as fewer independent ones where they are alike.
    """

    validation: Fraction = 0.1
    test: Fraction = 0.1
    groups: Annotated[str, Field(min_length=1)] | None = None

    @model_validator(mode="after")
    def _some_left(self) -> SplitSpec:
        if self.validation + self.test >= 1:
            raise problem("validation and test together below 1", "leave samples to train on")
        return self


class ExperimentFile(Section):
    """The whole file. ``provenance`` is what a finished run notes; it is not read."""

    data: Annotated[str, Field(min_length=1)]
    sample_dim: Annotated[str, Field(min_length=1)] = "sample"
    modalities: Annotated[dict[ModalityName, Modality], Field(min_length=1)]
    latent: Latent = Latent()
    nodes: Nodes
    graph: Graph = Graph()
    labels: dict[str, str] = Field(default_factory=dict)
    interventions: Interventions | None = None
    training: Training = Training()
    split: SplitSpec = SplitSpec()
    provenance: dict[str, Any] = Field(default_factory=dict)

    @field_validator("nodes", mode="after")
    @classmethod
    def _small_enough(cls, nodes: dict[str, int] | str) -> dict[str, int] | str:
        if isinstance(nodes, str) or math.prod(nodes.values()) <= MAX_COMPONENTS:
            return nodes
        raise problem(
            f"at most {MAX_COMPONENTS} joint outcomes; here "
            f"{' x '.join(map(str, nodes.values()))} = {math.prod(nodes.values())}",
            "use fewer nodes or outcomes",
        )

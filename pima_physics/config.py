"""The experiment: what a YAML file asks for, checked, paths resolved, defaults filled in."""

from __future__ import annotations

import contextlib
import inspect
import math
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from pima_physics.config_checks import data_path, placed, unit_problems, unknown_nodes
from pima_physics.config_problems import explain
from pima_physics.config_schema import ExperimentFile
from pima_physics.config_schema import Modality as ModalitySpec
from pima_physics.config_yaml import read_mapping
from pima_physics.errors import ConfigError, InputError, Problems

if TYPE_CHECKING:
    from pima_physics.dataset import Request
    from pima_physics.knowledge import Knowledge
    from pima_physics.modality import Modality
    from pima_physics.model import PIMA


@dataclass(frozen=True)
class Experiment:
    """An experiment file, read and checked.

    Parameters
    ----------
    file : ExperimentFile
        The keys of the file, defaults filled in.
    data : Path
        The data file (relative paths are taken from the folder of the experiment file).
    path : Path, optional
        Where the file lies.
    """

    file: ExperimentFile
    data: Path
    path: Path | None = None

    @classmethod
    def load(
        cls, path: str | Path, *, data: str | Path | None = None, **training: Any
    ) -> Experiment:
        """Read an experiment file.

        Parameters
        ----------
        path : path
            The YAML file.
        data : path, optional
            Data file to use instead of the one named in the file (relative to the working folder).
        **training
            Values that replace those under ``training:``; None leaves the file's value.

        Raises
        ------
        ConfigError
            One error that lists every problem of the file with the path of its key.
        """
        source = Path(path)
        return cls.from_mapping(read_mapping(source), path=source, data=data, **training)

    @classmethod
    def from_mapping(
        cls,
        mapping: Mapping[str, Any],
        *,
        path: Path | None = None,
        data: str | Path | None = None,
        **training: Any,
    ) -> Experiment:
        """Check an experiment given as a mapping, as :meth:`load` does with a file."""
        raw, problems = dict(mapping), Problems()
        if data is not None:
            raw["data"] = str(Path(data).expanduser().absolute())
        given = {key: value for key, value in training.items() if value is not None}
        if given and isinstance(raw.get("training", {}), Mapping):
            raw["training"] = {**raw.get("training", {}), **given}
        file = _validated(raw, problems)
        for problem in (*unknown_nodes(raw), *unit_problems(raw)):
            problems.add(problem)
        place = data_path(raw.get("data"), path, problems, literal=data is not None)
        problems.raise_if_any()
        assert file is not None and place is not None
        return cls(file, place, path)

    @property
    def nodes(self) -> dict[str, int]:
        """Outcomes of every node; empty with ``nodes: auto``."""
        return {} if isinstance(self.file.nodes, str) else dict(self.file.nodes)

    @property
    def automatic(self) -> bool:
        """Whether the nodes are to be proposed from the data."""
        return isinstance(self.file.nodes, str)

    def with_nodes(self, nodes: Mapping[str, int]) -> Experiment:
        """Return the same experiment with these nodes, names and outcomes."""
        return replace(self, file=self.file.model_copy(update={"nodes": dict(nodes)}))

    @property
    def components(self) -> int | None:
        """Number of joint outcomes K, where the nodes are given."""
        return math.prod(self.nodes.values()) if self.nodes else None

    def check_size(self, samples: int) -> None:
        """Raise where there are more joint outcomes than samples.

        Raises
        ------
        ConfigError
            Where K, the product of the outcomes, exceeds ``samples``.
        """
        if self.components is None or self.components <= samples:
            return
        product = " x ".join(str(outcomes) for outcomes in self.nodes.values())
        raise ConfigError(
            "nodes: more joint outcomes than samples",
            found=f"{product} = {self.components} joint outcomes and {samples} samples",
            expected="at most as many joint outcomes as samples, better far fewer",
            fix="use fewer nodes or outcomes, or more data",
        )

    def resolved(self) -> dict[str, Any]:
        """Return the experiment with every default filled in and absolute paths (JSON-able)."""
        full = self.file.model_dump(mode="json", exclude={"provenance"}, exclude_none=True)
        full["data"] = str(self.data.absolute())
        for name, spec in self.file.modalities.items():
            full["modalities"][name] = _resolved_modality(name, spec)
        return full

    @cached_property
    def modalities(self) -> dict[str, Modality]:
        """What the model is told about each modality, simulators looked up.

        Raises
        ------
        ConfigError
            Every simulator, output or parameter that does not exist or does not fit.
        """
        built, problems = {}, Problems()
        for name, spec in self.file.modalities.items():
            try:
                with importable_beside(self.path):
                    built[name] = _modality(name, spec)
            except InputError as error:
                problems.add(placed(error, f"modalities.{name}.decoder"))
        problems.raise_if_any()
        return built

    def requests(self) -> list[Request]:
        """Return what the dataset must supply, one request for each modality."""
        return [modality.request(name) for name, modality in self.modalities.items()]

    def knowledge(self) -> Knowledge:
        """Return what the file says about the graph of the nodes."""
        from pima_physics.knowledge import Knowledge

        graph, acted = self.file.graph, self.file.interventions
        try:
            return Knowledge(
                nodes=tuple(self.nodes),
                tiers=tuple(tuple(tier) for tier in graph.tiers),
                forbidden=tuple((parent, child) for parent, child in graph.forbidden),
                required=tuple((parent, child) for parent, child in graph.required),
                order=tuple(graph.order) if graph.order is not None else None,
                roots=tuple(graph.roots),
                interventions=acted.kind if acted else "perfect",
            )
        except InputError as error:
            raise placed(error, "graph") from None

    def to_model(self) -> PIMA:
        """Return the model that the file describes.

        Raises
        ------
        ConfigError
            Where simulators, parameters or the graph's constraints do not fit.
        """
        from pima_physics.dag import DAG
        from pima_physics.model import PIMA

        if not self.nodes:
            raise ConfigError(
                "nodes: auto has no nodes before the data are looked at",
                expected="the number of outcomes of each node",
                fix="with_nodes(propose_nodes(...).nodes), or pima-physics fit, which does it",
            )
        dag = DAG.from_knowledge(self.nodes, self.knowledge())
        return PIMA(modalities=self.modalities, dag=dag, latent_dim=self.file.latent.dim)

    def fit_options(self, fit: Callable[..., Any], *, partial: bool = False) -> dict[str, Any]:
        """Return keyword arguments for ``fit``: the file's training, split, labels and targets.

        What ``fit`` does not take is an error where the file asks for it, or is left out where
        the function does a part of the fit only (``partial``).
        """
        training, split = self.file.training, self.file.split
        options = {
            **{key: getattr(training, key) for key in _ALWAYS},
            **{key: getattr(training, key) for key in sorted(training.model_fields_set)},
            "validation": split.validation,
            "test": split.test,
            "groups": split.groups,
            "sample_dim": self.file.sample_dim,
            "labels": dict(self.file.labels),
            "interventions": self.file.interventions and self.file.interventions.target,
            "intervention_values": self.file.interventions and self.file.interventions.value,
        }
        options = {key: value for key, value in options.items() if value is not None}
        taken = inspect.signature(fit).parameters
        if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in taken.values()):
            return options
        defaults = type(training)()
        extra = [key for key in options if key not in taken]
        asked = [key for key in extra if options[key] != getattr(defaults, key, None)]
        if asked and not partial:
            raise ConfigError(
                f"training: {', '.join(sorted(asked))} cannot be used in this version",
                fix="remove it from the experiment file",
            )
        return {key: value for key, value in options.items() if key not in extra}


_ALWAYS = ("epochs", "batch_size", "learning_rate", "seed", "device", "restarts", "dtype")


def _validated(raw: Mapping[str, Any], problems: Problems) -> ExperimentFile | None:
    try:
        return ExperimentFile.model_validate(raw)
    except ValidationError as error:
        for problem in explain(error, ExperimentFile):
            problems.add(problem)
    return None


def _modality(name: str, spec: ModalitySpec) -> Modality:
    from pima_physics import simulator
    from pima_physics.modality import Neural, Physics

    variable, decoder = spec.variable, spec.decoder
    hidden = tuple(decoder.network.hidden)
    common: dict[str, Any] = {
        "units": spec.units,
        "likelihood": spec.likelihood,
        "hidden": hidden,
        "coordinates": dict(spec.coordinates),
    }
    if decoder.physics is None:
        names = name if variable is None else variable
        return Neural(
            names if isinstance(names, str) else tuple(names),
            network=decoder.neural or "auto",
            **common,
        )
    assert not isinstance(variable, list)  # the schema allows one variable with physics
    return Physics(
        simulator.find(decoder.physics),
        observe=decoder.observe,
        variable=variable,
        per=decoder.per,
        parameters={key: value.changes() for key, value in decoder.parameters.items()},
        discrepancy=decoder.discrepancy,
        **common,
    )


def _resolved_modality(name: str, spec: ModalitySpec) -> dict[str, Any]:
    decoder: dict[str, Any] = {"neural": spec.decoder.neural or "auto"}
    if spec.decoder.physics is not None:
        decoder = spec.decoder.model_dump(mode="json", include={"physics", "per", "discrepancy"})
        parameters = {key: value.changes() for key, value in spec.decoder.parameters.items()}
        decoder |= {"parameters": parameters} if parameters else {}
        decoder |= {"observe": spec.decoder.observe} if spec.decoder.observe else {}
    decoder["network"] = {"hidden": list(spec.decoder.network.hidden)}
    variable = spec.variable if spec.variable is not None or spec.decoder.physics else name
    full = {"variable": variable, "units": spec.units, "likelihood": spec.likelihood}
    full |= {"coordinates": dict(spec.coordinates)} if spec.coordinates else {}
    return {key: value for key, value in full.items() if value is not None} | {"decoder": decoder}


@contextlib.contextmanager
def importable_beside(path: Path | None) -> Iterator[None]:
    """Let ``module:Object`` also name a file beside the experiment; installed packages win."""
    folder = str((path.parent if path is not None else Path()).absolute())
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)

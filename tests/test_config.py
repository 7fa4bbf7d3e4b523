"""The experiment file: every mistake is found at once, with its path and a remedy."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pima_physics.config import Experiment
from pima_physics.config_schema import SplitSpec, Training
from pima_physics.config_yaml import MAX_BYTES, dump_mapping, parse_mapping, read_mapping
from pima_physics.errors import ConfigError, InputError
from pima_physics.training import fit

DESIGN = """
data: tension.nc
sample_dim: sample
modalities:
  curve:
    variable: stress
    units: MPa
    likelihood: normal
    decoder: {physics: voce, per: sample, parameters: {youngs_modulus: {bounds: [10, 100], units: GPa}}}
  trace:
    variable: gauge_temperature
    decoder: {neural: mlp}
latent: {dim: 4}
nodes: {temperature: 4, direction: 3}
graph: {tiers: [[temperature, direction]], forbidden: [[direction, temperature]], required: []}
labels: {temperature: temperature_level}
interventions: {target: intervened_on}
training: {epochs: 200, batch_size: 128, learning_rate: 1e-3, seed: 0, device: auto, restarts: 1}
split: {validation: 0.1, test: 0.1}
"""  # noqa: E501
SMALL: dict[str, Any] = {"data": "a.nc", "modalities": {"curve": None}, "nodes": {"state": 2}}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The small experiment with one key set, given as ``a.b.c``."""
    mapping: dict[str, Any] = json.loads(json.dumps(SMALL))
    place = mapping
    *parents, last = path.split(".")
    for key in parents:
        place[key] = place.get(key) or {}
        place = place[key]
    place[last] = value
    return mapping


def problem(mapping: dict[str, Any]) -> str:
    with pytest.raises(ConfigError) as caught:
        Experiment.from_mapping(mapping)
    return str(caught.value)


def test_the_file_of_the_design_is_read(tmp_path: Path) -> None:
    file = tmp_path / "tension.yaml"
    file.write_text(DESIGN)
    experiment = Experiment.load(file)
    assert experiment.data == tmp_path / "tension.nc"
    assert experiment.nodes == {"temperature": 4, "direction": 3}
    assert experiment.components == 12
    assert experiment.file.training.learning_rate == 1e-3
    assert experiment.file.modalities["trace"].decoder.neural == "mlp"
    limits = experiment.file.modalities["curve"].decoder.parameters["youngs_modulus"].limits
    assert limits == (10, 100)


def test_physics_parameters_reach_the_simulator_in_its_own_unit(tmp_path: Path) -> None:
    file = tmp_path / "tension.yaml"
    file.write_text(DESIGN)
    modality = Experiment.load(file).modalities["curve"]
    modulus = modality.simulator.parameters["youngs_modulus"]  # type: ignore[union-attr]
    assert (modulus.min, modulus.max) == pytest.approx((10e3, 100e3))  # declared in MPa
    assert modulus.shown_in == "GPa"


def test_resolved_is_complete_and_reads_back_the_same(tmp_path: Path) -> None:
    file = tmp_path / "tension.yaml"
    file.write_text(DESIGN)
    first = Experiment.load(file).resolved()
    json.dumps(first)
    again = tmp_path / "elsewhere" / "experiment.yaml"
    again.parent.mkdir()
    again.write_text(yaml.safe_dump(first | {"provenance": {"pima_physics": "0"}}))
    assert Experiment.load(again).resolved() == first
    assert first["split"] == {"validation": 0.1, "test": 0.1}
    assert first["training"]["dtype"] == "float32"


def test_every_problem_is_listed_at_once_with_its_path() -> None:
    text = problem(
        {
            "data": "a.nc",
            "modalitis": {},
            "modalities": {
                "curve": {"decoder": {"physic": "voce", "per": "sampel"}, "units": "MPaa"},
            },
            "nodes": {"state": 1},
            "graph": {"forbidden": [["stat", "state"]]},
            "training": {"epochs": 0},
        }
    )
    for path in (
        "modalitis: unknown key",
        "modalities.curve.decoder.physic: unknown key",
        "modalities.curve.decoder.per",
        "modalities.curve.units",
        "nodes.state",
        "graph.forbidden[0]",
        "training.epochs",
    ):
        assert path in text, path
    assert text.startswith("7 problems:")


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("modalitys", {}, "did you mean modalities?"),
        ("modalities.curve.decoder", {"physic": "voce"}, "did you mean physics?"),
        ("modalities.curve.decoder", {"physics": "a", "neural": "mlp"}, "either neural or physics"),
        ("modalities.curve.decoder", {"per": "component"}, "the key physics"),
        ("modalities.curve.decoder", "voce", "{physics: voce}"),
        ("modalities.curve.decoder", {"network": {"hidden": [0]}}, "hidden[0]"),
        ("modalities.curve.likelihood", "norml", "did you mean normal?"),
        ("modalities.curve.variable", 3, "the name of a variable"),
        ("modalities.curve.variable", ["a", "a"], "each variable once"),
        ("modalities.a/b", None, "call it a_b"),
        ("nodes", {"a": 300, "b": 300}, "at most 65536 joint outcomes; here 300 x 300 = 90000"),
        ("nodes", {"seed": 2}, "call it seed_node"),
        ("nodes", {"a b": 2}, "call it a_b"),
        ("nodes", "many", "auto, or a mapping"),
        ("nodes", {}, "auto, or a mapping"),
        ("graph.required", [["state", "state"]], "between two different nodes"),
        ("graph.required", ["state"], "[parent, child]"),
        ("graph.tiers", [["stat"]], "did you mean state?"),
        ("graph.order", ["other"], "graph.order[0]: there is no node 'other'"),
        ("labels", {"stat": "level"}, "labels.stat: there is no node 'stat'"),
        ("interventions", {}, "interventions.target is missing"),
        ("training.epochs", 1e3, "write 1000"),
        ("training.epochs", True, "a whole number"),
        ("training.learning_rate", "1e-3", "write 0.001 without quotes"),
        ("training.learning_rate", float("nan"), "training.learning_rate"),
        ("training.device", "gpu", "auto, cpu, cuda or cuda:N"),
        ("training.seed", -1, "at least 0"),
        ("split", {"validation": 0.5, "test": 0.5}, "together below 1"),
        ("data", 3, "data is not usable"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_with_its_remedy(path: str, value: Any, expected: str) -> None:
    assert expected in problem(changed(path, value))


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ({"bounds": [100, 10]}, "did you mean [10.0, 100.0]?"),
        ({"bounds": [1]}, "bounds: [lowest, highest]"),
        ({"bounds": [1, 2], "min": 0}, "either bounds or min and max"),
        ({"bounds": [0, 1], "scale": "log"}, "a positive lower bound"),
        ({"bounds": [0, 1], "value": 2}, "a value between 0.0 and 1.0"),
        ({"max": float("inf")}, "a finite number"),
        ({"unit": "GPa"}, "did you mean units?"),
        ({"units": "GPaa"}, "decoder.parameters.e.units"),
    ],
)
def test_a_mistake_in_a_parameter_is_named(spec: dict[str, Any], expected: str) -> None:
    mapping = changed("modalities.curve.decoder", {"physics": "voce", "parameters": {"e": spec}})
    assert expected in problem(mapping)


def test_defaults_and_shorthands() -> None:
    mapping = changed("modalities", {"image": None, "trace": {"decoder": "conv"}})
    experiment = Experiment.from_mapping(mapping)
    resolved = experiment.resolved()["modalities"]
    assert resolved["image"]["variable"] == "image"
    assert resolved["image"]["decoder"]["neural"] == "auto"
    assert resolved["trace"]["decoder"] == {"neural": "conv", "network": {"hidden": [128, 64]}}


def test_several_variables_make_one_vector() -> None:
    mapping = changed("modalities.curve.variable", ["ir_1", "vis_1"])
    (request,) = Experiment.from_mapping(mapping).requests()
    assert request.variables == ("ir_1", "vis_1")


def test_unknown_simulators_are_reported_together() -> None:
    mapping = changed(
        "modalities",
        {"a": {"decoder": {"physics": "vose"}}, "b": {"decoder": {"physics": "no.such:Law"}}},
    )
    with pytest.raises(ConfigError) as caught:
        _ = Experiment.from_mapping(mapping).modalities
    assert "did you mean 'voce'?" in str(caught.value)
    assert "modalities.b.decoder" in str(caught.value)


def test_a_simulator_may_lie_beside_the_experiment(tmp_path: Path) -> None:
    (tmp_path / "my_law_beside.py").write_text(
        "from pima_physics.simulator import Simulator\n"
        "from pima_physics.parameters import Parameter\n"
        "class Line(Simulator):\n"
        "    coordinates = {'time': 's'}\n"
        "    outputs = {'height': 'm'}\n"
        "    speed = Parameter('m/s', value=1.0)\n"
        "    def evaluate(self, x, p):\n"
        "        return {'height': p.speed * x.time}\n"
    )
    mapping = changed("modalities.curve.decoder", {"physics": "my_law_beside:Line"})
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump(mapping))
    before = list(sys.path)
    (request,) = Experiment.load(file).requests()
    assert request.variables == ("height",)
    assert sys.path == before


def test_more_joint_outcomes_than_samples() -> None:
    experiment = Experiment.from_mapping(changed("nodes", {"a": 4, "b": 3}))
    experiment.check_size(12)
    with pytest.raises(InputError, match="4 x 3 = 12 joint outcomes and 11 samples"):
        experiment.check_size(11)


def test_data_path_from_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    mapping = SMALL | {"data": "${PIMA_TEST_FOLDER}/a.nc"}
    monkeypatch.delenv("PIMA_TEST_FOLDER", raising=False)
    assert "PIMA_TEST_FOLDER is not set" in problem(mapping)
    monkeypatch.setenv("PIMA_TEST_FOLDER", str(tmp_path))
    assert Experiment.from_mapping(mapping).data == tmp_path / "a.nc"


def test_only_the_data_path_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIMA_TEST_FOLDER", "secret")
    experiment = Experiment.from_mapping(
        changed("modalities.curve.variable", "${PIMA_TEST_FOLDER}")
    )
    assert experiment.file.modalities["curve"].variable == "${PIMA_TEST_FOLDER}"


def test_the_command_line_replaces_data_and_training(tmp_path: Path) -> None:
    file = tmp_path / "e.yaml"
    file.write_text("modalities: {a: }\nnodes: {s: 2}\ntraining: {seed: 3, epochs: 7}\n")
    experiment = Experiment.load(file, data=tmp_path / "b$.nc", seed=5, epochs=None)
    assert experiment.data == tmp_path / "b$.nc"
    assert (experiment.file.training.seed, experiment.file.training.epochs) == (5, 7)
    with pytest.raises(ConfigError, match="--data FILE"):
        Experiment.load(file)


def test_fit_options_hold_back_what_fit_does_not_take() -> None:
    def fit(*, epochs: int, seed: int, labels: object) -> None: ...

    experiment = Experiment.from_mapping(changed("training.epochs", 3))
    assert experiment.fit_options(fit, partial=True) == {"epochs": 3, "seed": 0, "labels": {}}
    with pytest.raises(ConfigError, match="sample_dim, test, validation cannot be used"):
        experiment.fit_options(fit)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3), ("1E+2", 100.0), (".5", 0.5), ("-2", -2), ("010", 10), ("1:30", "1:30"),
        ("no", "no"), ("on", "on"), ("true", True), ("2024-01-01", "2024-01-01"), ("~", None),
        (".inf", float("inf")), ("'1e-3'", "1e-3"), ("1_000", "1_000"), ("nan", "nan"),
    ],
)  # fmt: skip
def test_scalars_mean_what_a_scientist_writes(text: str, value: object) -> None:
    read = parse_mapping(f"key: {text}", "x")["key"]
    assert read == value and type(read) is type(value)


def test_repeated_keys_are_all_named_with_their_lines() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_mapping("a: 1\nb: {c: 1, c: 2}\na: 2\nd: [{e: 1, e: 2}]\n", "x.yaml")
    text = str(caught.value)
    assert "a is given twice" in text and "lines 1 and 3" in text
    assert "b.c is given twice" in text and "d[0].e is given twice" in text


LAUGHS = "\n".join(
    ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "an empty file"),
        ("just text", "one str"),
        ("[1, 2]", "one list"),
        ("a: [1", "line 1"),
        ("a: !!python/object/apply:os.system [true]", "not valid YAML"),
        ("a: b: c", "put a space after each colon"),
        ("\ta: 1", "indent with spaces"),
        (LAUGHS, "too many values"),
        ("a: &a [*a]", "contains itself"),
        ("a: " + "[" * 5000, "YAML|nested"),
        ("a: 1\n---\nb: 2", "not valid YAML"),
    ],
    ids=range(11),
)
def test_hostile_text_is_one_clear_error(text: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected):
        parse_mapping(text, "x.yaml")


def test_unreadable_files(tmp_path: Path) -> None:
    (tmp_path / "tension.yaml").write_text(DESIGN)
    with pytest.raises(ConfigError, match=r"did you mean .*tension\.yaml\?"):
        read_mapping(tmp_path / "tensoin.yaml")
    with pytest.raises(ConfigError, match="is a folder"):
        read_mapping(tmp_path)
    (tmp_path / "data.nc").write_bytes(b"\x89HDF\r\n\xff\xfe")
    with pytest.raises(ConfigError, match="not a text file"):
        read_mapping(tmp_path / "data.nc")
    (tmp_path / "large.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="too large"):
        read_mapping(tmp_path / "large.yaml")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["decoder", "physics", "units", "variable", "bounds", "a"]),
            inner,
            max_size=3,
        )
    ),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    st.dictionaries(
        st.sampled_from(
            ["data", "modalities", "nodes", "graph", "labels", "training", "split", "latent", "x"]
        ),
        VALUES,
    )
)
def test_any_mapping_is_read_or_is_one_input_error(mapping: dict[str, Any]) -> None:
    base = changed("data", "a.nc")
    try:
        experiment = Experiment.from_mapping(base | mapping)
    except InputError as error:
        assert str(error)
    else:
        text = dump_mapping(experiment.resolved())
        again = Experiment.from_mapping(parse_mapping(text, "resolved"))
        assert again.resolved() == experiment.resolved()


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.dictionaries(st.text(), st.text() | st.integers() | st.floats(allow_nan=False)))
@example({"1e3": "1e-3", "no": "on", "~": "", "010": "0o10", "<<": "=", "a": "2024-01-01"})
def test_what_is_dumped_reads_back_the_same(mapping: dict[str, Any]) -> None:
    if mapping:
        read = parse_mapping(dump_mapping({"key": mapping}), "dumped")["key"]
        assert read == mapping
        assert [type(value) for value in read.values()] == [type(v) for v in mapping.values()]


def test_the_file_and_python_have_the_same_defaults() -> None:
    """What is not written in the file is what ``pima.fit`` does when it is not told."""
    taken = inspect.signature(fit).parameters
    read = Training().model_dump() | SplitSpec().model_dump()
    shared = {k: v for k, v in read.items() if k in taken and v is not None}  # None: not given
    assert {"epochs", "batch_size", "learning_rate", "restarts", "dtype"} <= set(shared)
    differ = {k: (v, taken[k].default) for k, v in shared.items() if v != taken[k].default}
    assert not differ

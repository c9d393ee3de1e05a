"""Settings: bounds, contradictions, unknown keys, and round trips without loss."""

from __future__ import annotations

import pytest

from privlab.config import PRESETS, ConfigError, RunConfig, load_preset
from privlab.config.knobs import bounds_of, knob_of
from privlab.config.privacy import PrivacyConfig
from privlab.config.run import set_path
from privlab.config.section import Section
from privlab.preflight import preflight


def sections() -> list[type[Section]]:
    return [
        f.annotation
        for f in RunConfig.model_fields.values()
        if isinstance(f.annotation, type) and issubclass(f.annotation, Section)
    ]


@pytest.mark.parametrize("key", PRESETS)
def test_presets_round_trip_and_pass_the_gate(key: str) -> None:
    config = load_preset(key)
    assert RunConfig.from_toml(config.to_toml()) == config
    assert RunConfig.from_json(config.to_json()) == config
    assert preflight(config).plan.steps > 0


@pytest.mark.parametrize(
    ("raw", "path", "words"),
    [
        (
            {"privacy": {"noise_multiplier": 1, "target_epsilon": 3}},
            "privacy.noise_multiplier",
            ["noise_multiplier=1", "target_epsilon=3"],
        ),
        ({"privacy": {}}, "privacy.noise_multiplier", ["neither"]),
        (
            {"privacy": {"target_epsilon": 3, "sampling": "shuffled"}},
            "privacy.sampling",
            ["shuffled", "choose poisson"],
        ),
        (
            {"privacy": {"noise_multiplier": 0, "sampling": "shuffled"}},
            "privacy.sampling",
            ["clipping=flat", "choose poisson"],
        ),
        (
            {"privacy": {"noise_multiplier": 1, "clipping": "none"}},
            "privacy.clipping",
            ["clipping=none", "noise_multiplier=1"],
        ),
        ({"privacy": {"noise_multiplier": -0.5}}, "privacy.noise_multiplier", ["-0.5", "0"]),
        ({"privacy": {"noise_multiplier": 1, "delta": 2}}, "privacy.delta", ["2", "1"]),
        ({"privacy": {"noise_multiplier": 1, "max_grad_norm": 0}}, "privacy.max_grad_norm", ["0"]),
        ({"privacy": {"noise_multiplier": float("nan")}}, "privacy.noise_multiplier", ["nan"]),
        ({"privacy": {"noise_multiplier": 1}, "training": {"epoch": 3}}, "training.epoch", ["unknown", "epoch=3"]),
        ({"privacy": {"noise_multiplier": 1}, "extra": 1}, "extra", ["unknown"]),
        ({"privacy": {"noise_multiplier": 1}, "schema_version": 9}, "schema_version", ["9"]),
    ],
)
def test_refusals_name_place_value_and_bound(raw: dict, path: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        RunConfig.from_dict(raw)
    found = {p.path: p.message for p in caught.value.problems}
    assert path in found
    for word in words:
        assert word in found[path]


@pytest.mark.parametrize(
    ("settings", "path", "words"),
    [
        ({"training__batch_size": 5000}, "training.batch_size", ["5000", "1442"]),
        ({"privacy__delta": 0.001}, "privacy.delta", ["0.001", "1442"]),
        ({"data__dataset": "imagenet"}, "data.dataset", ["imagenet", "digits"]),
        ({"model__name": "vgg"}, "model.name", ["vgg", "mlp"]),
        ({"model__name": "scatter-linear"}, "model.name", ["scatter-linear", "digits"]),
        ({"privacy__target_epsilon": 1e-6}, "privacy.target_epsilon", ["1e-06"]),
    ],
)
def test_gate_refusals(settings: dict, path: str, words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        preflight(load_preset("digits").replace(**settings))
    found = {p.path: p.message for p in caught.value.problems}
    assert path in found, found
    for word in words:
        assert word in found[path].replace(",", ""), found[path]


def test_gate_reports_every_problem_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        preflight(load_preset("digits").replace(model__name="vgg", training__batch_size=5000, privacy__delta=0.5))
    assert {"model.name", "training.batch_size", "privacy.delta"} <= {p.path for p in caught.value.problems}


def test_sigma_and_epsilon_displace_each_other() -> None:
    config = load_preset("digits").replace(privacy__noise_multiplier=1.5)
    assert config.privacy.target_epsilon is None and config.privacy.noise_multiplier == 1.5


def test_set_path_refuses_a_path_through_a_value() -> None:
    with pytest.raises(ConfigError, match="single setting"):
        set_path({"name": "x"}, "name.deeper", 1)


def test_every_setting_is_declared_with_label_and_help() -> None:
    for section in sections():
        for name in section.model_fields:
            about = knob_of(section, name)
            assert about.label and about.help.endswith("."), f"{section.__name__}.{name}"


def test_bounds_are_readable() -> None:
    assert bounds_of(PrivacyConfig.model_fields["max_grad_norm"]) == {"gt": 0, "le": 1000}
    # Optional numbers keep their bounds inside the union's metadata.
    assert bounds_of(PrivacyConfig.model_fields["noise_multiplier"]) == {"ge": 0, "le": 1000}


def test_settings_are_frozen() -> None:
    with pytest.raises(Exception, match="frozen"):
        load_preset("digits").privacy.delta = 1.0


def test_a_gpu_that_is_not_there_is_refused_before_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("privlab.preflight._CUDA_FILES", ("/nosuch/device",))
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(ConfigError, match="device=cuda is not on this machine"):
        preflight(load_preset("digits").replace(performance__device="cuda"))

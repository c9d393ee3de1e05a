"""What leaves PrivLab: files that read back as what was measured, and with a claim that says no more than holds."""

from __future__ import annotations

import csv
import io
import json
import math

import pyarrow.parquet as parquet
import pytest

from privlab.config import RunConfig, load_preset
from privlab.metrics import METRICS, Point
from privlab.preflight import preflight
from privlab.reports import points_csv, points_json, points_parquet, settings_toml
from privlab.runs.record import Run, Status


def a_run(preset: str = "digits", run_id: str = "abc1230000", **settings) -> Run:
    config = load_preset(preset).replace(**settings)
    plan = preflight(config).plan
    return Run(
        run_id, config.name, Status.RUNNING, config, plan, created=1.0, step=2, steps=plan.steps, epsilon=0.123456
    )


POINTS = [
    Point(1, 0.1 + 0.2, 1 / 3, 0.7, {"test_accuracy": 1 / 7, "snr": math.nan}),
    Point(2, 0.5, 2.0, None, {"test_accuracy": 0.25, "grad_norm_p50": 3.0}),
]


def test_csv_reads_back_to_the_same_floats() -> None:
    rows = list(csv.DictReader(io.StringIO(points_csv([(a_run(), POINTS)]))))
    assert [row["run"] for row in rows] == ["abc1230000"] * 2
    assert float(rows[0]["epoch"]) == 0.1 + 0.2
    assert float(rows[0]["test_accuracy"]) == 1 / 7
    assert rows[0]["snr"] == ""
    assert rows[1]["epsilon"] == ""
    assert rows[0]["grad_norm_p50"] == ""


def test_csv_columns_are_what_points_have_in_declared_order() -> None:
    header = points_csv([(a_run(), POINTS)]).splitlines()[0].split(",")
    assert header[:6] == ["run", "name", "step", "epoch", "seconds", "epsilon"]
    assert header[6:] == [key for key in METRICS if key in {"test_accuracy", "snr", "grad_norm_p50"}]


def test_csv_of_several_runs_holds_all_points() -> None:
    text = points_csv([(a_run(), POINTS), (a_run(run_id="def4560000"), POINTS[:1])])
    assert [line.split(",")[0] for line in text.splitlines()[1:]] == ["abc1230000", "abc1230000", "def4560000"]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@x"])
def test_a_name_never_becomes_a_formula(name: str) -> None:
    (row,) = csv.DictReader(io.StringIO(points_csv([(a_run(name=name), POINTS[:1])])))
    assert row["name"] == f"'{name}"


def test_parquet_holds_the_same_rows_with_types_and_release_classes() -> None:
    table = parquet.read_table(io.BytesIO(points_parquet([(a_run(name="=1+1"), POINTS)])))
    assert table.column_names[:6] == ["run", "name", "step", "epoch", "seconds", "epsilon"]
    rows = table.to_pylist()
    assert rows[0]["name"] == "=1+1" and rows[0]["epoch"] == 0.1 + 0.2 and rows[0]["test_accuracy"] == 1 / 7
    assert rows[0]["snr"] is None and rows[1]["epsilon"] is None and rows[0]["grad_norm_p50"] is None
    assert table.schema.field("grad_norm_p50").metadata[b"release"] == b"private diagnostic"
    assert parquet.read_table(io.BytesIO(points_parquet([(a_run(), [])]))).num_rows == 0


def test_json_is_strict_and_says_what_is_private() -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is not JSON")

    document = json.loads(points_json([(a_run(), POINTS)]), parse_constant=refuse)
    assert document["metrics"]["grad_norm_p50"]["release"] == "private diagnostic"
    (run,) = document["runs"]
    assert RunConfig.from_dict(run["settings"]) == a_run().config
    assert run["plan"]["sample_rate"] == a_run().plan.sample_rate
    assert run["points"][0]["snr"] is None
    assert run["points"][0]["epoch"] == 0.1 + 0.2
    assert run["privacy"]["verdict"] == "conditional"


def test_settings_toml_is_what_the_command_line_takes() -> None:
    run = a_run("encrypted", privacy__max_grad_norm=0.3)
    assert RunConfig.from_toml(settings_toml(run)) == run.config

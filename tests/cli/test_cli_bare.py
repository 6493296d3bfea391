"""A device that installed the bare package: no torch, nothing of the extra ``design``."""

import json

import pytest
from processes import finished, serving


def test_show_and_tune(own_bundle):
    shown = finished("show", own_bundle.path, bare=True)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "cloud global" in shown.stdout
    tuned = finished("tune", own_bundle.path, "--coverage", 0.8, "--write", bare=True)
    assert (tuned.returncode, tuned.stderr) == (0, "")
    assert "80.00 %" in tuned.stdout


def test_serve_and_run(shared_bundle, pictures, arrays):
    with serving(shared_bundle.path, bare=True) as (ready, _):
        cloud = f"127.0.0.1:{ready['port']}"
        ran = finished("run", shared_bundle.path, *pictures, "--cloud", cloud, "--json", bare=True)
        data = ["--data", f"arrays:{arrays}", "--limit", 4]
        figures = finished("run", shared_bundle.path, *data, "--cloud", cloud, bare=True)
    assert (ran.returncode, ran.stderr) == (0, "")
    answers = [json.loads(line) for line in ran.stdout.splitlines()]
    assert {answer["source"] for answer in answers} == {"edge", "cloud"}
    assert (figures.returncode, figures.stderr) == (0, "")
    assert "accuracy" in figures.stdout


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["train", "recipe.yaml"], "design"),
        (["check", "recipe.yaml"], "design"),
        (["evaluate", "recipe.yaml"], "design"),
        (["nets"], "design"),
        (["demo"], "design"),
    ],
)
def test_what_needs_an_extra_names_it(arguments, extra, tmp_path):
    done = finished(*arguments, bare=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    assert f"pip install 'hybridge[{extra}]'" in done.stderr


def test_data_that_need_an_extra_name_it(shared_bundle, tmp_path):
    path = tmp_path / "data.parquet"
    path.write_bytes(b"PAR1")
    done = finished("run", shared_bundle.path, "--data", f"parquet:{path}", bare=True)
    assert done.returncode == 2
    assert "pip install 'hybridge[data]'" in done.stderr
    digits = finished("run", shared_bundle.path, "--data", "digits", bare=True)
    assert "pip install 'hybridge[demo]'" in digits.stderr

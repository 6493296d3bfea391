"""``emulate``: a bundle over recorded links, beside its baselines."""

import json
import shutil

import numpy as np
import pytest
from processes import finished
from tiny_bundle import COUNT

from hybridge.links.link import Link
from hybridge.plan.bundle import save_bundle
from hybridge.plan.log import read_log
from hybridge.plan.rehearsal import query_rate

METHODS = ["plan", "edge only", "cloud only, raw", "fixed plan", "foresight"]
CODECS = ["cloud only, jpeg-90", "cloud only, webp"]
KEYS = {
    *("method", "accuracy", "query_rate", "latency_ms", "p50_ms", "p95_ms", "p99_ms"),
    *("payload_bytes", "energy_mj", "reward", "timeouts", "unanswered", "requests"),
}


@pytest.fixture
def trace(tmp_path):
    """Ten seconds of 8 Mbit/s: a tiny image takes 48 microseconds."""
    path = tmp_path / "steady.txt"
    path.write_text("".join(f"{second} 8\n" for second in range(10)))
    return path


@pytest.fixture
def outage(tmp_path):
    """Half a minute of link, five minutes of none."""
    path = tmp_path / "outage.txt"
    path.write_text("".join(f"{at} {8 * (at < 30)}\n" for at in range(0, 330, 30)))
    return path


def emulated(call, *arguments):
    called = call("emulate", *arguments, "--json")
    assert (called.status, called.err) == (0, "")
    return json.loads(called.out)


def by_method(rows):
    return {row["method"]: row for row in rows}


def test_every_method_is_a_row_of_a_table(call, shared_bundle, trace):
    called = call("emulate", shared_bundle.path, "--trace", trace)
    assert called.status == 0
    for part in (
        *METHODS,
        "100 requests over 1 trace",
        "xiaomi-mi6x",
        "left out: cloud only, webp",
    ):
        assert part in called.out


def test_json_has_a_row_for_each_method(call, shared_bundle, trace):
    out = emulated(call, shared_bundle.path, "--trace", trace, "--link", "wifi")
    assert [row["method"] for row in out["rows"]] == METHODS
    assert list(out["left_out"]) == CODECS
    assert all(set(row) == KEYS for row in out["rows"])
    assert all(set(row) == {"trace", *KEYS} for row in out["traces"])
    rows = by_method(out["rows"])
    # 10 s at ten a second: every input twice and a half.
    expected = query_rate(shared_bundle.plan, shared_bundle.rehearsal)
    assert rows["plan"]["requests"] == 100
    assert rows["plan"]["query_rate"] == pytest.approx(expected, abs=0.1)
    # 2 M and 10 M MACs, 0.048 ms of sending and 40 ms of round trip.
    assert rows["edge only"]["latency_ms"] == pytest.approx(2e6 * 0.29e-6)
    assert rows["cloud only, raw"]["latency_ms"] == pytest.approx(
        40.048 + 10e6 * 25 / 595e6, abs=1e-3
    )
    assert out["surroundings"] == {"device": "xiaomi-mi6x", "cloud": "v100", "link": "wifi"}


def test_traces_are_replayed_one_by_one_and_counted_together(call, shared_bundle, trace, outage):
    out = emulated(call, shared_bundle.path, "--trace", trace, "--trace", outage, "--rate", 2)
    per_trace = [row for row in out["traces"] if row["method"] == "cloud only, raw"]
    assert [row["trace"] for row in per_trace] == [str(trace), str(outage)]
    assert [row["requests"] for row in per_trace] == [20, 660]
    pooled = by_method(out["rows"])["cloud only, raw"]
    assert pooled["requests"] == 680
    assert pooled["timeouts"] == sum(row["timeouts"] for row in per_trace) == 599
    total = sum(row["latency_ms"] * row["requests"] for row in per_trace)
    assert pooled["latency_ms"] == pytest.approx(total / 680)


def test_one_option_may_name_several_traces(call, shared_bundle, trace, outage):
    one_by_one = emulated(call, shared_bundle.path, "--trace", trace, "--trace", outage)
    assert emulated(call, shared_bundle.path, "--trace", trace, outage) == one_by_one


def test_an_outage_of_minutes_is_waited_through_and_counted(call, shared_bundle, outage):
    rows = by_method(emulated(call, shared_bundle.path, "--trace", outage)["rows"])
    assert rows["plan"]["unanswered"] == rows["foresight"]["timeouts"] == 0
    assert rows["plan"]["timeouts"] > 1000
    assert rows["cloud only, raw"]["unanswered"] == rows["cloud only, raw"]["timeouts"] > 2500
    assert rows["cloud only, raw"]["p99_ms"] == pytest.approx(1000)


def test_requests_come_as_asked_for(call, shared_bundle, trace):
    def requests(*arguments):
        out = emulated(call, shared_bundle.path, "--trace", trace, *arguments)
        return by_method(out["rows"])["plan"]["requests"]

    assert requests("--poisson", 20) == 200
    assert requests("--rate", 5, "--duration-s", 60) == 300
    assert requests("--requests", 7) == 7
    assert requests("--back-to-back") == COUNT
    assert requests("--back-to-back", "--requests", 3) == 3


def test_a_seed_gives_the_same_emulation(call, shared_bundle, trace):
    one, same, other = (
        emulated(call, shared_bundle.path, "--trace", trace, "--poisson", 500, "--seed", seed)
        for seed in (0, 0, 1)
    )
    assert one["rows"] == same["rows"] != other["rows"]


def test_a_deadline_is_kept_to(call, shared_bundle, trace):
    out = emulated(call, shared_bundle.path, "--trace", trace, "--deadline-ms", 20)
    rows = by_method(out["rows"])
    assert rows["cloud only, raw"]["unanswered"] == 100
    assert max(row["p99_ms"] for row in out["rows"]) <= 20
    assert rows["fixed plan"]["timeouts"] == 0
    assert out["deadline_ms"] == 20
    no_limit = emulated(call, shared_bundle.path, "--trace", trace, "--deadline-ms", "inf")
    assert no_limit["deadline_ms"] is None
    assert no_limit["rows"] == emulated(call, shared_bundle.path, "--trace", trace)["rows"]


def test_the_log_and_the_figure_are_written(call, shared_bundle, trace, tmp_path):
    log, figure = tmp_path / "new/decisions.jsonl", tmp_path / "other/emulation.svg"
    files = ["--log", log, "--figure", figure]
    out = emulated(call, shared_bundle.path, "--trace", trace, *files)
    latency_ms = [record.decision.latency_ms for record in read_log(log)]
    assert np.mean(latency_ms) == pytest.approx(by_method(out["rows"])["plan"]["latency_ms"])
    drawn = figure.read_text()
    assert "<svg" in drawn
    assert all(method in drawn for method in METHODS)
    assert len(drawn) < 200_000


def test_the_figure_counts_no_answer_where_there_is_none(call, shared_bundle, outage, monkeypatch):
    seen = {}

    def keep(latency_ms, main):
        seen.update(latency_ms)
        return "<svg/>"

    monkeypatch.setattr("hybridge.report.figures.latency_distribution", keep)
    figure = outage.with_suffix(".svg")
    out = emulated(call, shared_bundle.path, "--trace", outage, "--figure", figure)
    missing = by_method(out["rows"])["cloud only, raw"]["unanswered"] / out["rows"][0]["requests"]
    assert np.isinf(seen["cloud only, raw"]).mean() == pytest.approx(missing, abs=0.002)
    assert np.isfinite(seen["plan"]).all()


def test_what_is_to_be_answered_may_be_rehearsed_first(call, own_bundle, arrays, trace):
    save_bundle(own_bundle.plan, own_bundle.path, None, own_bundle.metadata)
    refused = call("emulate", own_bundle.path, "--trace", trace)
    refused.assert_refused("holds no rehearsal", "--data")
    out = emulated(
        call, own_bundle.path, "--trace", trace, "--back-to-back", "--data", f"arrays:{arrays}"
    )
    assert (out["left_out"], out["inputs"]) == ({}, COUNT)
    assert {*METHODS, *CODECS} == set(by_method(out["rows"]))
    sent = query_rate(own_bundle.plan, own_bundle.rehearsal)
    assert by_method(out["rows"])["plan"]["query_rate"] == pytest.approx(sent)


def test_a_link_may_be_a_file(call, shared_bundle, trace, tmp_path):
    Link(1e6, rtt_ms=7, message_ms=3).save(tmp_path / "measured.json")
    out = emulated(call, shared_bundle.path, "--trace", trace, "--link", tmp_path / "measured.json")
    rows = by_method(out["rows"])
    assert rows["cloud only, raw"]["latency_ms"] == pytest.approx(10.468, abs=1e-3)


def test_programs_need_not_be_here(call, own_bundle, trace):
    shutil.rmtree(own_bundle.path / "programs")
    assert call("emulate", own_bundle.path, "--trace", trace).status == 0


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--rate", "0"], ["rate of more than 0", "got 0"]),
        (["--rate", "-3"], ["rate of more than 0", "got -3"]),
        (["--poisson", "nan"], ["rate of more than 0", "got nan"]),
        (["--requests", "0"], ["expected 1 to 1,000,000 requests", "got 0"]),
        (["--requests", "99000000"], ["make it shorter or slower"]),
        (["--duration-s", "inf"], ["duration of more than 0", "got inf"]),
        (["--duration-s", "1e12"], ["make it shorter or slower"]),
        (["--deadline-ms", "-1"], ["deadline_ms of 0 or more", "got -1"]),
        (["--deadline-ms", "nan"], ["deadline_ms of 0 or more", "got nan"]),
        (["--rate", "1", "--poisson", "1"], ["--rate and --poisson", "give one"]),
        (["--back-to-back", "--duration-s", "9"], ["--duration-s and --back-to-back"]),
        (["--requests", "3", "--duration-s", "9"], ["--duration-s and --requests"]),
        (["--device", "xiaomi"], ["unknown device 'xiaomi'", "did you mean 'xiaomi-mi6x'"]),
        (["--link", "wfi"], ["unknown link 'wfi'", "did you mean 'wifi'"]),
        (["--data", "digit"], ["did you mean 'digits'"]),
        (["--figure", "/"], ["--figure", "expected a file"]),
        (["--log", "/"], ["--log", "expected a file"]),
    ],
)
def test_what_cannot_be_emulated_is_refused(call, shared_bundle, trace, arguments, parts):
    call("emulate", shared_bundle.path, "--trace", trace, *arguments).assert_refused(*parts)


def test_a_trace_must_be_one(call, shared_bundle, tmp_path):
    call("emulate", shared_bundle.path).assert_refused("--trace")
    call("emulate", shared_bundle.path, "--trace", tmp_path / "none").assert_refused("none")
    (tmp_path / "empty").touch()
    call("emulate", shared_bundle.path, "--trace", tmp_path / "empty").assert_refused("empty")
    (tmp_path / "words").write_text("once upon a time\n")
    call("emulate", shared_bundle.path, "--trace", tmp_path / "words").assert_refused("words")


def test_a_bundle_must_be_one(call, trace, tmp_path):
    call("emulate", tmp_path, "--trace", trace).assert_refused("not a bundle")


def test_a_plain_installation_emulates(shared_bundle, trace, tmp_path):
    done = finished("emulate", shared_bundle.path, "--trace", trace, bare=True)
    assert (done.returncode, done.stderr) == (0, "")
    figure = ["--figure", tmp_path / "emulation.svg"]
    refused = finished("emulate", shared_bundle.path, "--trace", trace, *figure, bare=True)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "pip install 'hybridge[design]'" in refused.stderr


def test_a_policy_moves_what_is_sent(call, shared_bundle, trace):
    def sent(policy):
        arguments = (shared_bundle.path, "--trace", trace, "--requests", 2000, "--policy", policy)
        return by_method(emulated(call, *arguments)["rows"])["plan"]["query_rate"]

    assert sent("coverage:0.25") == pytest.approx(0.75, abs=0.03)
    assert sent("coverage:0.75") == pytest.approx(0.25, abs=0.03)
    assert sent("budget:360") < 0.2  # 200 s of requests, 36 queries saved up and 20 that come in


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--policy", "coverage:2"), "expected a policy such as fixed, coverage:0.7"),
        (("--policy", "worst"), "expected a policy such as fixed, coverage:0.7"),
        (("--codec", "int8-zstd"), "codec 'int8-zstd' was not rehearsed for 'global'"),
    ],
)
def test_a_policy_or_codec_that_cannot_be_is_refused(call, shared_bundle, trace, options, said):
    called = call("emulate", shared_bundle.path, "--trace", trace, *options)
    assert called.status == 2
    assert said in called.err
    assert called.err.count("\n") == 1

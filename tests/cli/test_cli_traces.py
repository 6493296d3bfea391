"""``traces`` and ``links``, and a recorded link under ``run``."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from processes import finished

from hybridge.links.link import Link, link_named, links
from hybridge.links.read import read_trace

KEYS = {"duration_s", "mean_mbps", "p25_mbps", "p50_mbps", "p75_mbps", "outage_share"}


@pytest.fixture
def trace(tmp_path):
    path = tmp_path / "phone.log"
    path.write_text("0 1\n1 2\n2 3\n3 4\n4 0\n")
    return path


@pytest.fixture
def mahimahi(tmp_path):
    path = tmp_path / "lte.up"
    path.write_text("".join(f"{ms}\n" for ms in range(0, 30_001, 10)))
    return path


def test_statistics_of_one_file(call, trace):
    called = call("traces", "stats", trace, "--json")
    assert (called.status, called.err) == (0, "")
    found = json.loads(called.out)
    assert found.keys() >= KEYS
    assert (found["duration_s"], found["mean_mbps"]) == (5, 2)
    assert (found["p25_mbps"], found["p50_mbps"], found["p75_mbps"]) == (1, 2, 3)
    assert found["outage_share"] == pytest.approx(0.2)
    assert found["format"] == "seconds"


def test_statistics_of_several_files(call, trace, mahimahi):
    found = json.loads(call("traces", "stats", trace, mahimahi, trace, "--json").out)
    assert [row["file"] for row in found] == [str(trace), str(mahimahi), str(trace)]
    assert found[1]["mean_mbps"] == pytest.approx(1.2, rel=1e-3)
    assert found[1]["format"] == "mahimahi"
    assert all(row.keys() >= KEYS for row in found)


def test_statistics_for_a_reader(call, trace, mahimahi):
    out = call("traces", "stats", trace, mahimahi).out
    assert "phone.log  seconds" in out
    assert "lte.up     mahimahi" in out
    assert "20.00 %" in out


def test_a_format_can_be_forced(call, tmp_path):
    path = tmp_path / "counted.txt"
    path.write_text("125000\n0\n")
    called = call("traces", "stats", path, "--format", "bytes", "--json")
    assert json.loads(called.out)["mean_mbps"] == 0.5
    call("traces", "stats", path).assert_refused("counted.txt, line 2", "'bytes'")
    call("traces", "stats", path, "--format", "byte").assert_refused("'byte'", "'bytes'")


def test_one_bad_file_among_several_is_named(call, trace, tmp_path):
    bad = tmp_path / "bad.log"
    bad.write_bytes(b"\0\1\2")
    call("traces", "stats", trace, bad, "--json").assert_refused("bad.log", "binary")
    call("traces", "stats", trace, tmp_path / "gone").assert_refused("gone")
    call("traces", "stats", tmp_path).assert_refused("folder")


def test_a_plot_is_an_image_with_its_quartiles(call, trace, tmp_path):
    out = tmp_path / "new" / "phone.svg"
    called = call("traces", "plot", trace, "--out", out)
    assert called.status == 0
    assert "read as seconds" in called.out
    texts = [each.text for each in ElementTree.parse(out).getroot().iter() if each.text]
    assert {"phone.log", "Lower quartile: 1 Mbit/s", "Upper quartile: 3 Mbit/s"} <= set(texts)


def test_a_plot_of_several(call, trace, mahimahi, tmp_path):
    out = tmp_path / "both.svg"
    assert call("traces", "plot", trace, mahimahi, "--out", out).status == 0
    text = out.read_text()
    assert "phone.log (quartiles 1 and 3)" in text
    assert "lte.up (quartiles 1.2 and 1.2)" in text


def test_plots_that_cannot_be(call, trace, tmp_path):
    call("traces", "plot", trace).assert_refused("--out", "traces plot --help")
    call("traces", "plot", trace, "--out", tmp_path).assert_refused("--out", "folder")
    out = tmp_path / "gone.svg"
    call("traces", "plot", tmp_path / "gone", "--out", out).assert_refused("gone")
    assert not out.exists()


def test_a_synthetic_trace_reads_back(call, mahimahi, tmp_path):
    out = tmp_path / "like.log"
    arguments = ("traces", "synth", mahimahi, "--duration-s", 90, "--out")
    assert call(*arguments, out, "--seed", 3).status == 0
    trace = read_trace(out)
    assert trace.duration_s == 90
    assert trace.mean_bps == pytest.approx(1.2e6, rel=0.01)
    again = tmp_path / "again.log"
    call(*arguments, again, "--seed", 3)
    assert again.read_text() == out.read_text()


def test_another_seed_writes_another_trace(call, trace, tmp_path):
    for seed in (0, 1):
        call("traces", "synth", trace, "--duration-s", 99.5, "--seed", seed, "--out",
             tmp_path / f"{seed}.log")  # fmt: skip
    assert read_trace(tmp_path / "0.log").duration_s == 100
    assert (tmp_path / "0.log").read_text() != (tmp_path / "1.log").read_text()


@pytest.mark.parametrize(
    ("changed", "part"),
    [
        ({"--duration-s": 0}, "0 s"),
        ({"--duration-s": "nan"}, "nan"),
        ({"--duration-s": "inf"}, "inf"),
        ({"--duration-s": 1e12}, "steps"),
        ({"--seed": -1}, "--seed"),
        ({"--format": "cvs"}, "'csv'"),
    ],
)
def test_copies_that_cannot_be(call, trace, tmp_path, changed, part):
    options = {"--duration-s": 9, "--out": tmp_path / "out.log"} | changed
    flat = [word for pair in options.items() for word in pair]
    call("traces", "synth", trace, *flat).assert_refused(part)
    assert not (tmp_path / "out.log").exists()


def test_groups_name_their_commands(call):
    call("traces").assert_refused("Missing command", "hybridge traces --help")
    call("traces", "stat").assert_refused("'stats'")
    call("links", "lits").assert_refused("'list'")
    assert "hybridge traces synth" in call("traces", "--help").out


@pytest.mark.parametrize(
    "command", [("traces", "stats"), ("traces", "plot"), ("traces", "synth"), ("links", "list"),
                ("links", "fit")]
)  # fmt: skip
def test_every_part_of_a_group_has_examples(call, command):
    assert f"hybridge {' '.join(command)}" in call(*command, "--help").out.partition("Examples:")[2]


def test_links_are_listed_with_their_sources(call):
    found = json.loads(call("links", "list", "--json").out)
    assert [row["name"] for row in found] == links.names()
    assert all(row["provenance"] for row in found)
    out = call("links", "list").out
    assert "wifi-near" in out
    assert "42 ms" in out


def test_one_link_is_printed_as_its_file_would_be(call, tmp_path):
    path = tmp_path / "mine.json"
    path.write_text(call("links", "list", "lte-near", "--json").out)
    assert link_named(str(path)) == link_named("lte-near")
    assert "12.2" in call("links", "list", path).out
    call("links", "list", "wify").assert_refused("'wifi'")


def write_measured(path, link, bandwidths=None):
    sizes = [500, 5_000, 50_000, 200_000]
    head, rows = "note,transfer_ms,payload_bytes", []
    for at, size in enumerate(sizes):
        each = link if bandwidths is None else Link(bandwidths[at] * 1e6, link.rtt_ms)
        rows.append(f"x,{each.transfer_ms(size)},{size}")
        if bandwidths is not None:
            rows[-1] += f",{bandwidths[at]}"
    head += "" if bandwidths is None else ",bandwidth_mbps"
    path.write_text("\n".join([head, *rows, ""]))
    return path


def test_a_fitted_link_is_one_that_commands_take(call, tmp_path):
    measured = write_measured(tmp_path / "m.csv", Link(20e6, 42, "", message_ms=5))
    out = tmp_path / "fitted" / "link.json"
    called = call("links", "fit", measured, "--rtt-ms", 42, "--out", out, "--json")
    assert (called.status, called.err) == (0, "")
    found = json.loads(called.out)
    assert found["link"]["bandwidth_bps"] == pytest.approx(20e6)
    assert found["link"]["message_ms"] == pytest.approx(5)
    assert found["errors"]["mean_share"] < 1e-6
    assert link_named(str(out)) == Link(**found["link"])


def test_the_bandwidth_may_be_given(call, tmp_path):
    link = Link(20e6, 42, "", message_ms=5, byte_ms=1e-4)
    measured = write_measured(tmp_path / "m.csv", link)
    called = call("links", "fit", measured, "--rtt-ms", 42, "--bandwidth-mbps", 20, "--json")
    assert json.loads(called.out)["link"]["byte_ms"] == pytest.approx(1e-4)
    out = call("links", "fit", measured, "--rtt-ms", 42, "--bandwidth-mbps", 20).out
    for part in ("20 Mbit/s", "100 ms beyond", "mean error", "R²", "--out"):
        assert part in out


def test_the_bandwidth_may_stand_in_a_column(call, tmp_path):
    measured = write_measured(tmp_path / "m.csv", Link(1e6, 10), [1, 2, 4, 8])
    found = json.loads(call("links", "fit", measured, "--rtt-ms", 10, "--json").out)
    assert found["link"]["bandwidth_bps"] == 3e6
    assert found["errors"]["worst_share"] < 1e-9
    both = call("links", "fit", measured, "--bandwidth-mbps", 3)
    both.assert_refused("--bandwidth-mbps", "column")


def test_a_poor_fit_is_warned_of(call, tmp_path):
    measured = write_measured(tmp_path / "m.csv", Link(100e6, 1))
    called = call("links", "fit", measured, "--rtt-ms", 40, "--bandwidth-mbps", 1)
    assert called.status == 0
    assert called.err.startswith("warning: the fit is")


@pytest.mark.parametrize(
    ("content", "options", "part"),
    [
        ("payload_bytes,ms\n1,2\n", (), "transfer_ms"),
        ("payload_bytes,transfer_ms\n", (), "values"),
        ("payload_bytes,transfer_ms\n1,2\n1,3\n", (), "two sizes"),
        ("payload_bytes,transfer_ms\n1,2\nx,3\n", (), "line 3"),
        ("payload_bytes,transfer_ms\n1,2\n5,-3\n", (), "line 3"),
        ("payload_bytes,transfer_ms\n1,2\n5,0\n", (), "0 ms"),
        ("payload_bytes,transfer_ms\n1,9\n5,3\n", (), "take longer"),
        ("payload_bytes,transfer_ms\n1,2\n5,3\n", ("--bandwidth-mbps", 0), "0 bit/s"),
        ("payload_bytes,transfer_ms\n1,2\n5,3\n", ("--rtt-ms", "nan"), "--rtt-ms"),
        ("payload_bytes,transfer_ms\n1,2\n5,3\n", ("--out", "link.txt"), ".json"),
        ("", (), "empty"),
    ],
)
def test_measurements_that_cannot_be(call, tmp_path, content, options, part):
    path = tmp_path / "m.csv"
    path.write_text(content)
    call("links", "fit", path, *options).assert_refused(part)


def test_a_recorded_link_shapes_a_run(call, shared_bundle, pictures, trace, free_port):
    arguments = ["run", shared_bundle.path, *pictures, "--trace", trace]
    called = call(*arguments, "--cloud", f"127.0.0.1:{free_port}", "--json")
    assert called.status == 0
    assert len(called.out.splitlines()) == len(pictures)


def test_shapes_that_cannot_be(call, shared_bundle, pictures, trace):
    arguments = ["run", shared_bundle.path, pictures[0]]
    cloud = ("--cloud", "127.0.0.1:1")
    call(*arguments, "--trace", trace).assert_refused("--trace", "--cloud")
    call(*arguments, "--link-seed", 1).assert_refused("--link-seed", "--cloud")
    both = call(*arguments, *cloud, "--trace", trace, "--link-seed", 1)
    both.assert_refused("--trace", "--link-seed")
    mean = call(*arguments, *cloud, "--trace", trace, "--link-mbps", 2)
    mean.assert_refused("--link-mbps", "--link-seed")
    call(*arguments, *cloud, "--trace", pictures[0]).assert_refused("image0.png", "binary")


def test_the_shaped_run_takes_what_the_trace_says(
    call, shared_bundle, pictures, tmp_path, free_port
):
    # Over a link that delivers nothing, the edge answers within its deadline.
    path = tmp_path / "outage.log"
    path.write_text("0 0\n1 0\n")
    called = call("run", shared_bundle.path, *pictures, "--trace", path, "--deadline-ms", 30,
                  "--cloud", f"127.0.0.1:{free_port}", "--json")  # fmt: skip
    failures = {json.loads(line)["failure"] for line in called.out.splitlines()}
    assert any(failure and "shaped link did not deliver" in failure for failure in failures)


def test_a_long_trace_makes_a_plot_of_bounded_size(call, tmp_path):
    path = tmp_path / "long.log"
    rates = np.random.default_rng(0).random(50_000)
    path.write_text("".join(f"{at} {rate}\n" for at, rate in enumerate(rates)))
    assert call("traces", "plot", path, "--out", tmp_path / "long.svg").status == 0
    assert (tmp_path / "long.svg").stat().st_size < 200_000


def test_a_device_without_extras_reads_and_makes_traces(trace, tmp_path):
    for arguments in (
        ("traces", "stats", trace),
        ("traces", "synth", trace, "--duration-s", 9, "--out", tmp_path / "out.log"),
        ("links", "list"),
    ):
        done = finished(*arguments, bare=True)
        assert (done.returncode, done.stderr) == (0, "")
    plotted = finished("traces", "plot", trace, "--out", tmp_path / "out.svg", bare=True)
    assert plotted.returncode == 2
    assert "pip install 'hybridge[design]'" in plotted.stderr
    assert not (tmp_path / "out.svg").exists()

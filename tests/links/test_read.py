import os
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.errors import ConfigError, DataError, UnknownNameError
from hybridge.links.read import formats, read_recording, read_trace
from hybridge.links.trace import Trace

SHARED = Path(os.environ.get("HYBRIDGE_DATA", "../shared/data")) / "traces"


@pytest.fixture
def write(tmp_path):
    def write(content: str | bytes, name: str = "trace.txt") -> Path:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def mbps(trace: Trace) -> list[float]:
    return [round(rate / 1e6, 9) for rate in trace.bandwidth_bps]


def refused(path: Path, *parts: str, **options: object) -> None:
    """The file is refused, in one line that names it."""
    with pytest.raises(DataError) as caught:
        read_recording(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    for part in (path.name, *parts):
        assert part in message


@pytest.mark.parametrize(
    "content",
    [
        "0 1\n2 0\n3 4.5\n",
        "0\t1\n2\t0\n3\t4.5",
        "0 1\r\n2 0\r\n3 4.5\r\n",
        "\n  0   1 \n\n 2 0\n3 4.5\n\n",
        "\ufeff0 1\n2 0\n3 4.5\n",
        "1640953095.5 1\n1640953097.5 0\n1640953098.5 4.5\n",
    ],
    ids=["blanks", "tabs", "crlf", "spread", "marked", "clock"],
)
def test_seconds_and_megabits(write, content):
    recording = read_recording(write(content))
    assert recording.kind == "seconds"
    assert recording.trace.times_s == (0, 2, 3)
    assert mbps(recording.trace) == [1, 0, 4.5]
    # Two steps, of 2 s and 1 s: the last value holds for their median.
    assert recording.trace.duration_s == 4.5
    assert (recording.rtt_ms, recording.loss) == (None, None)


def test_round_trips_and_losses_come_beside(write):
    recording = read_recording(write("0 20 41.0ms 0.00\n0.5 10 33 0.5\n0.5 20 35ms 0\n"))
    assert recording.kind == "seconds"
    assert mbps(recording.trace) == [20, 15]
    assert recording.rtt_ms == (41, 34)
    assert recording.loss == (0, 0.25)


def test_equal_times_are_merged_into_their_mean(write):
    trace = read_trace(write("0 1\n1 2\n1 4\n2 5\n"))
    assert (trace.times_s, mbps(trace)) == ((0, 1, 2), [1, 3, 5])


def test_one_line_holds_for_a_second_and_so_for_ever(write):
    trace = read_trace(write("7 3\n"))
    assert (trace.times_s, mbps(trace), trace.duration_s) == ((0,), [3], 1)


def test_an_outage_without_end_is_a_trace(write):
    assert read_trace(write("0 0\n1 0\n")).mean_bps == 0


def test_mahimahi_counts_opportunities_in_bins(write):
    recording = read_recording(write("0\n0\n999\n1000\n3000\n3400\n3500\n"))
    assert recording.kind == "mahimahi"
    trace = recording.trace
    assert (trace.times_s, trace.duration_s) == ((0, 1, 2, 3), 3.5)
    assert trace.bandwidth_bps == (36_000, 12_000, 0, 3 * 12_000 / 0.5)


def test_a_packet_just_beyond_a_second_makes_no_peak(write):
    trace = read_trace(write("0\n999\n1500\n2001\n"))
    assert (trace.times_s, trace.duration_s) == ((0, 1), 2.001)
    assert trace.bandwidth_bps == pytest.approx((24_000, 24_000 / 1.001))


def test_mahimahi_may_be_read_at_its_own_detail(write):
    trace = read_trace(write("0\n2\n2\n4\n"), bin_s=0.001)
    assert trace.bandwidth_bps == pytest.approx((12e6, 0, 24e6, 12e6))
    assert trace.duration_s == 0.004


def test_silence_before_the_first_opportunity_is_an_outage(write):
    assert read_trace(write("2500\n")).bandwidth_bps == (0, 0, 24_000)


@given(
    st.lists(st.integers(0, 5000), min_size=1, max_size=50).filter(any),
    st.sampled_from([0.001, 0.01, 0.07, 0.3, 1.0, 60.0]),
)
def test_mahimahi_loses_no_packet(tmp_path_factory, at_ms, bin_s):
    path = tmp_path_factory.mktemp("mahimahi") / "trace"
    path.write_text("".join(f"{ms}\n" for ms in sorted(at_ms)))
    trace = read_trace(path, bin_s=bin_s)
    assert trace.duration_s == max(at_ms) / 1e3
    assert trace.mean_bps * trace.duration_s == pytest.approx(12_000 * len(at_ms))


@pytest.mark.parametrize(
    "content",
    [
        "time_s,bandwidth_mbps\n0,1\n2,0\n3,4.5\n",
        "timestamp_ms,throughput_kbps\n5000,1000\n7000,0\n8000,4500\n",
        'place,"Elapsed (ms)","Downlink (Mbit/s)"\n"a, b",0,1\nc,2000,0\nd,3000,4.5\n',
        "bps;t\r\n1e6;0\r\n0;2\r\n4.5e6;3\r\n",
        "TIME\tBANDWIDTH_GBPS\n0\t0.001\n2\t0\n3\t0.0045\n",
        "seconds,uplinkMbps\n0,1\n2,0\n3,4.5\n",
        "duration_s,bandwidth_mbps\n2,1\n1,0\n0,9\n1.5,4.5\n",
        "app_throughput,delivery_time,bitrate\n1000,2,300\n0,1,300\n4500,1.5,300\n",
    ],
    ids=["plain", "ms", "quoted", "semicolons", "tabs", "camel", "durations", "lumos"],
)
def test_named_columns(write, content):
    recording = read_recording(write(content))
    assert recording.kind == "csv"
    assert recording.trace.times_s == (0, 2, 3)
    assert mbps(recording.trace) == [1, 0, 4.5]
    assert recording.trace.duration_s == 4.5


def test_bytes_of_each_second_are_read_where_asked_for(write):
    path = write("125000\n0\n250000\n")
    trace = read_trace(path, "bytes")
    assert (mbps(trace), trace.duration_s) == ([1, 0, 2], 3)
    refused(path, "line 2", "125000", "got 0", "'bytes'")


def test_a_format_can_be_forced(write):
    path = write("0 1\n1 2\n")
    assert read_recording(path, "seconds").kind == "seconds"
    refused(path, "line 1", "milliseconds", kind="mahimahi")
    with pytest.raises(UnknownNameError, match="'mahimahi'"):
        read_trace(path, "mahimaki")


@pytest.mark.parametrize("bin_s", [0, -1, float("nan"), 1e-9])
def test_bins_have_a_length(write, bin_s):
    with pytest.raises(ConfigError, match="bin_s"):
        read_trace(write("0\n1\n"), bin_s=bin_s)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        ("", ["empty"]),
        (" \n\t\n", ["empty"]),
        (b"\x00\x01\x02\xff\xfe", ["binary"]),
        ("0 1\n1 \x00\n", ["binary"]),
        ("0 1\n1 2\n".encode("utf-16"), ["binary"]),
        ("no numbers here\nat all\n", ["line 1", "no numbers here", "bandwidth"]),
        ("0 1\n1 x\n", ["line 2", "Mbit/s", "'x'"]),
        ("0 1\n\n1 nan\n", ["line 3", "nan"]),
        ("0 1\n1 inf\n", ["line 2", "inf"]),
        ("0 1\n1 -2\n", ["line 2", "-2"]),
        ("-1 1\n1 2\n", ["line 1", "-1"]),
        ("0 1\n3 1\n2.5 1\n", ["line 3", "at least 3", "line 2", "got 2.5", "sort"]),
        ("0 1\n1\n", ["line 2", "expected 2", "got 1"]),
        ("0 1 2\n", ["line 1", "got 3"]),
        ("0 1 2 3 4\n", ["line 1", "got 5"]),
        ("0 1 20ms 1.5\n", ["line 1", "1.5"]),
        ("0 1 20s 0\n", ["line 1", "'20s'"]),
        ("0 1\n1 1e12\n", ["1e+18", "unit"]),
        ("1640953095285 1\n1640953096285 2\n", ["line 2", "time_ms"]),
        ("0\n", ["0 ms"]),
        ("0\n5\n3\n", ["line 3", "at least 5", "got 3"]),
        ("0\n1.5\n", ["line 2", "1.5", "whole"]),
        ("0\n-1\n", ["line 2", "-1"]),
        ("0\n100000000000000000\n", ["line 2", "steps"]),
        ("0,1\n1,2\n", ["line 1", "'0', '1'"]),
        ("time_s,bandwidth\n0,1\n", ["bandwidth_mbps", "'time_s', 'bandwidth'"]),
        ("time_s,bandwidth_MBps\n0,1\n", ["'bandwidth_MBps'"]),
        ("bandwidth_mbps\n1\n", ["time_ms", "'bandwidth_mbps'"]),
        ("time_s,dl_mbps,ul_mbps\n0,1,2\n", ["'dl_mbps', 'ul_mbps'", "keep"]),
        ("time_s,duration_s,bps\n0,1,2\n", ["'time_s', 'duration_s'", "keep"]),
        ("time_s,bps\n", ["values"]),
        ("time_s,bps\n0,1\n1\n", ["line 3", "expected 2 columns", "got 1"]),
        ("time_s,bps\n0,\n", ["line 2", "'bps'"]),
        ("time_s,bps\n0,1\n\n2,1\n1,1\n", ["line 5", "at least 2", "line 4"]),
        ('time_s,bps\n0,"1\n', ["line 2", "CSV"]),
        ("duration_s,bps\n0,1\n", ["more than 0"]),
        ("duration_s,bps\n-1,1\n", ["line 2", "-1"]),
        ("timestamp,bps\n1640953095285,1\n", ["line 2", "time_ms"]),
    ],
)
def test_what_is_no_recording_is_refused(write, content, parts):
    refused(write(content), *parts)


@pytest.mark.parametrize(
    ("name", "part"),
    [("gone.txt", "No such file"), ("folder", "a folder"), ("pipe", "pipe"), ("a\0b", "null")],
)
def test_what_is_no_file_is_refused(tmp_path, name, part):
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(DataError, match=part):
        read_trace(tmp_path / name)


@given(st.binary(max_size=300) | st.text("0123456789 .,-+e\n\tnaif:ms_bp", max_size=300))
def test_junk_is_read_or_refused_and_nothing_else(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("junk") / "trace"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    for kind in (None, *formats.names()):
        try:
            trace = read_trace(path, kind)
        except DataError as error:
            assert str(path) in str(error)  # noqa: PT017
        else:
            assert trace.duration_s > 0


def test_a_large_file_fits_into_memory(write):
    path = write("".join(f"{ms}\n" for ms in range(200_000)))
    tracemalloc.start()
    assert read_trace(path).mean_bps == pytest.approx(12e6, rel=1e-4)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 100e6


@pytest.mark.skipif(not SHARED.is_dir(), reason="the recorded traces are not here")
def test_every_recorded_trace_can_be_read():
    paths = sorted(path for path in SHARED.rglob("*") if path.is_file())
    kinds = {path: read_recording(path).kind for path in paths}
    assert len(paths) > 80
    for path, kind in kinds.items():
        expected = {".csv": "csv", ".up": "mahimahi", ".down": "mahimahi", ".pps": "mahimahi"}
        assert kind == expected.get(path.suffix, "seconds"), path


@pytest.mark.skipif(not SHARED.is_dir(), reason="the recorded traces are not here")
def test_recorded_round_trips_are_read():
    recording = read_recording(next((SHARED / "spark/Hairpin").rglob("*.log")))
    assert len(recording.rtt_ms) == len(recording.loss) == len(recording.trace.times_s)
    assert 5 < np.median(recording.rtt_ms) < 50
    assert 0 < max(recording.loss) <= 1


def test_comments_are_skipped_and_lines_counted_on(tmp_path):
    path = tmp_path / "commented"
    path.write_text("# seconds Mbit/s\n0 1\n # half time\n1 3\n")
    assert read_trace(path).bandwidth_bps == (1e6, 3e6)
    path.write_text("# a\n0 1\n1 -3\n")
    with pytest.raises(DataError, match="line 3"):
        read_trace(path)

"""What the live page is told of a log, and of the cloud's own figures."""

import json
import math
import socket
import threading
import time
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from live_log import FELL_BACK, KEPT, SENT, decision, write

from hybridge.errors import ConfigError, DataError
from hybridge.report.live import Known, LiveView
from hybridge.report.prometheus import Scraper, digest, samples


@pytest.fixture
def log(tmp_path):
    return tmp_path / "log.jsonl"


def test_before_the_first_request_there_is_nothing(log):
    state = LiveView(log).state()
    assert (state["seen"], state["figures"], state["requests"]) == (0, None, [])


def test_figures_are_of_what_the_log_says(log):
    write(log, KEPT, KEPT, SENT, FELL_BACK, truth=0)
    found = LiveView(log).state()["figures"]
    assert (found["coverage"], found["fell_back"], found["accuracy"]) == (0.5, 0.25, 0.5)
    assert (found["per_s"], found["breaker"], found["expected_ms"]) == (1, "open", 40)
    assert (found["edge_ms"], found["link_ms"], found["cloud_ms"]) == (2, 30, 10)
    assert (found["p50_ms"], found["payload_bytes"], found["bandwidth_bps"]) == (2, 125, 4e6)
    assert (found["threshold"], found["moved"]) == (None, False)


def test_one_request_is_enough(log):
    write(log, KEPT)
    found = LiveView(log).state()["figures"]
    assert (found["p50_ms"], found["p95_ms"], found["per_s"]) == (2, 2, None)
    assert (found["link_ms"], found["accuracy"]) == (None, None)


def test_the_bundle_lends_names_and_threshold(log):
    write(log, KEPT, decision(threshold=0.75))
    requests = LiveView(log, Known(("cat", "dog"), 0.5)).state()["requests"]
    assert [each["label"] for each in requests] == ["cat", "dog"]
    assert [each["threshold"] for each in requests] == [0.5, 0.75]
    write(log, KEPT, KEPT, KEPT)
    assert LiveView(log, Known(("cat", "dog"))).state()["requests"][-1]["label"] == "2"


def test_only_the_last_requests_are_remembered(log):
    write(log, *[KEPT] * 30, SENT)
    state = LiveView(log, recent=10).state()
    assert (state["seen"], len(state["requests"])) == (31, 10)
    assert state["figures"]["coverage"] == 0.9


@given(st.floats(), st.floats(), st.floats())
def test_any_number_can_be_told(tmp_path_factory, score, threshold, bandwidth_bps):
    path = tmp_path_factory.mktemp("live") / "log.jsonl"
    write(path, decision(score=score, threshold=threshold, bandwidth_bps=bandwidth_bps))
    told = json.loads(json.dumps(LiveView(path).state(), allow_nan=False))["requests"][0]
    for given_, found in ((score, told["score"]), (threshold, told["threshold"])):
        assert found is None if math.isnan(given_) else float(found) == given_


def test_a_log_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DataError, match="cannot read"):
        LiveView(tmp_path).state()


METRICS = """
# HELP hybridge_requests_total Requests that have ended
# TYPE hybridge_requests_total counter
hybridge_requests_total{program="a \\"b\\"",version="1",status="OK"} 90.0
hybridge_requests_total{program="c",version="2",status="OK"} 10.0
hybridge_requests_total{program="",version="",status="NOT_FOUND"} 5.0
hybridge_shed_total{program="c",version="2"} 2.0
hybridge_waiting_rows{program="c",version="2"} 7.0
hybridge_batch_rows_sum{program="c",version="2"} 40.0
hybridge_batch_rows_count{program="c",version="2"} 10.0
hybridge_request_seconds_sum{program="c",version="2",part="run"} 0.5
hybridge_request_seconds_count{program="c",version="2",part="run"} 100.0
broken{ 1
odd NaN
"""


def test_the_server_s_figures_are_read():
    assert digest(METRICS) == {
        "answered": 100,
        "failed": 5,
        "shed": 2,
        "waiting": 7,
        "batch_rows": 4,
        "queue_ms": None,
        "run_ms": 5,
        "all_ms": None,
    }


@given(st.text())
def test_no_page_of_figures_breaks_it(text):
    assert all(math.isfinite(value) for _, _, value in samples(text))


def test_they_are_the_names_that_the_server_uses():
    pytest.importorskip("prometheus_client")
    from hybridge.runtime.cloud.listener import Outcome
    from hybridge.runtime.cloud.metrics import Metrics

    class Service:
        def waiting(self):
            return []

    metrics = Metrics(Service())
    metrics.on_outcome(Outcome(None, "OK", queue_ms=1.0, run_ms=2.0, cloud_ms=4.0))
    metrics.on_outcome(Outcome(None, "RESOURCE_EXHAUSTED", shed=True))
    found = digest(metrics.page().decode())
    assert (found["answered"], found["failed"], found["shed"]) == (1, 1, 1)
    assert (found["queue_ms"], found["run_ms"]) == (pytest.approx(1), pytest.approx(2))
    assert found["all_ms"] == pytest.approx(4)


def test_a_server_that_is_gone_is_said_to_be(log):
    write(log, KEPT)
    state = LiveView(log, cloud=Scraper("http://127.0.0.1:1/metrics")).state()
    assert "no figures" in state["cloud"]["fault"]
    assert state["seen"] == 1


@pytest.mark.parametrize("url", ["file:///etc/passwd", "127.0.0.1:9090", "http://", "http://[::1"])
def test_only_http_is_read(url):
    with pytest.raises(ConfigError, match="address of metrics"):
        Scraper(url)


def test_a_server_that_drips_is_left_in_time():
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip():
            connection, _ = listener.accept()
            with connection, suppress(OSError):
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n")
                while not ended.wait(0.2):
                    connection.sendall(b"#\n")

        ended = threading.Event()
        thread = threading.Thread(target=drip)
        thread.start()
        began_s = time.monotonic()
        found = Scraper(f"http://127.0.0.1:{listener.getsockname()[1]}/metrics").figures()
        took_s = time.monotonic() - began_s
        ended.set()
        thread.join()
    assert "no figures" in found["fault"]
    assert took_s < 4

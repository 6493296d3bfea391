import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hybridge.codecs.codec import codec_named
from hybridge.errors import DataError
from hybridge.links.fit import fit_errors, fit_link
from hybridge.links.link import Link
from hybridge.links.trace import Trace
from hybridge.plan.tensors import TensorSpec
from hybridge.runtime.clock import SystemClock
from hybridge.runtime.cloud.models import Models
from hybridge.runtime.cloud.server import serving
from hybridge.runtime.edge.grpc import GrpcTransport
from hybridge.runtime.edge.shaped import Shaped
from hybridge.runtime.wire.message import Message
from tiny_plans import LOGITS, write_program

SIZES = np.array([200, 1_000, 5_000, 20_000, 100_000, 400_000])


def took(link, sizes=SIZES):
    return np.array([link.transfer_ms(int(size)) for size in sizes])


@given(st.floats(0, 100), st.floats(0, 0.01), st.floats(1e5, 1e9), st.floats(0, 200))
def test_a_link_is_found_again(message_ms, byte_ms, bandwidth_bps, rtt_ms):
    link = Link(bandwidth_bps, rtt_ms, "", message_ms, byte_ms)
    if took(link).min() < 1e-3:
        return
    found = fit_link(SIZES, took(link), bandwidth_bps, rtt_ms)
    assert (found.bandwidth_bps, found.rtt_ms) == (bandwidth_bps, rtt_ms)
    assert took(found) == pytest.approx(took(link), rel=1e-6)
    errors = fit_errors(found, SIZES, took(link))
    assert errors.worst_share < 1e-6
    assert errors.r_squared == pytest.approx(1)


def test_an_unknown_bandwidth_is_found_as_well():
    link = Link(20e6, 42, "", message_ms=3)
    found = fit_link(SIZES, took(link), rtt_ms=42)
    assert found.bandwidth_bps == pytest.approx(20e6)
    assert (found.message_ms, found.byte_ms) == (pytest.approx(3), 0)


def test_bandwidths_may_differ_from_transfer_to_transfer():
    rates = np.array([1, 2, 4, 8, 8, 8]) * 1e6
    took_ms = 10 + 2 + 1e-4 * SIZES + 8000 * SIZES / rates
    found = fit_link(SIZES, took_ms, rates, rtt_ms=10)
    assert found.bandwidth_bps == 6e6
    assert (found.message_ms, found.byte_ms) == pytest.approx((2, 1e-4))
    assert fit_errors(found, SIZES, took_ms, rates).worst_share < 1e-9


@given(
    st.lists(
        st.tuples(st.integers(0, 10**6), st.floats(0.01, 1e4)), min_size=2, max_size=12
    ).filter(lambda rows: len({size for size, _ in rows}) > 1),
    st.floats(0, 100),
)
def test_no_other_link_is_nearer(rows, rtt_ms):
    sizes, took_ms = map(np.array, zip(*rows, strict=True))
    found = fit_link(sizes, took_ms, 8e6, rtt_ms)

    def squares(message_ms, byte_ms):
        said_ms = took(Link(8e6, rtt_ms, "", message_ms, byte_ms), sizes)
        return np.sum(((said_ms - took_ms) / took_ms) ** 2)

    least = squares(found.message_ms, found.byte_ms)
    for constant in (0, 0.9, 1.1):
        for slope in (0, 0.9, 1.1):
            for more_ms in (0, 0.1):
                tried = squares(found.message_ms * constant + more_ms, found.byte_ms * slope)
                assert least <= tried * (1 + 1e-6) + 1e-9


def test_noise_is_told_as_the_error_of_the_fit():
    link = Link(10e6, 40, "", message_ms=5)
    sizes = np.repeat(SIZES, 20)
    noise = 1 + 0.05 * np.random.default_rng(0).normal(size=len(sizes))
    took_ms = took(link, sizes) * noise
    found = fit_link(sizes, took_ms, 10e6, 40)
    errors = fit_errors(found, sizes, took_ms)
    assert 0.03 < errors.mean_share < 0.05
    assert abs(errors.bias_share) < 0.01
    assert found.message_ms == pytest.approx(5, abs=1)
    for part in ("120 transfers", "200 to 400,000 B", "mean error", "R²"):
        assert part in found.provenance


def test_transfers_faster_than_the_link_are_told_as_bias():
    took_ms = took(Link(100e6, 1))
    found = fit_link(SIZES, took_ms, 10e6, 40)
    assert (found.message_ms, found.byte_ms) == (0, 0)
    assert fit_errors(found, SIZES, took_ms).bias_share > 1


@pytest.mark.parametrize(
    ("sizes", "took_ms", "options", "part"),
    [
        ([], [], {}, "two sizes"),
        ([1000, 1000], [1, 2], {}, "two sizes"),
        ([1000], [1, 2], {}, "one time for each"),
        ([1000, -1], [1, 2], {}, "0 bytes"),
        ([1000, 2000], [1, 0], {}, "0 ms"),
        ([1000, 2000], [1, np.nan], {}, "0 ms"),
        ([1000, 2000], [1, 2], {"bandwidth_bps": 0}, "0 bit/s"),
        ([1000, 2000], [1, 2], {"bandwidth_bps": [1e6, np.inf]}, "0 bit/s"),
        ([1000, 2000], [1, 2], {"rtt_ms": -1}, "round trip"),
        ([1000, 2000], [5, 5], {}, "take longer"),
        ([1000, 2000], [9, 5], {}, "take longer"),
    ],
)
def test_measurements_that_cannot_be_are_refused(sizes, took_ms, options, part):
    with pytest.raises(DataError, match=part):
        fit_link(sizes, took_ms, **options)


def measure(transport, program, sizes, repeats=7):
    """Return the least time of transfers through real sockets: a busy machine only adds to it."""
    clock = SystemClock()
    least_ms = []
    for size in sizes:
        array = np.zeros((size // 1000, 1000), np.uint8)
        message = Message("sink", program.sha256, {"x": codec_named("raw").encode(array)})
        assert message.payload_bytes == size
        times_ms = []
        for _ in range(repeats):
            begin_ms = clock.now_ms()
            transport.send(message)
            times_ms.append(clock.now_ms() - begin_ms)
        least_ms.append(min(times_ms))
    return np.array(least_ms)


def test_transfers_over_a_real_connection_are_foretold(tmp_path):
    spec = TensorSpec(name="x", dtype="uint8", shape=(1000,))
    program = write_program(tmp_path, "sink", spec, (LOGITS,), seed=0)
    fitted, held_out = np.array([1, 5, 15, 40]) * 1000, np.array([2, 10, 25]) * 1000
    with serving(Models({"sinks": [program]})) as address:
        direct = GrpcTransport(address, timeout_ms=5000)
        with Shaped(direct, Trace.constant(16e6), rtt_ms=4, timeout_ms=5000) as transport:
            measure(transport, program, [1000], repeats=3)  # connects
            fitted_ms = measure(transport, program, fitted)
            held_out_ms = measure(transport, program, held_out)
    known = fit_link(fitted, fitted_ms, 16e6, rtt_ms=4)
    unknown = fit_link(fitted, fitted_ms, rtt_ms=4)
    for link in (known, unknown):
        assert fit_errors(link, held_out, held_out_ms).mean_share < 0.15
    assert 0 < known.message_ms < 5
    assert unknown.bandwidth_bps == pytest.approx(16e6, rel=0.2)
    # What stacks add is not in bandwidth and round trip alone.
    bare = fit_errors(Link(16e6, 4), held_out, held_out_ms)
    assert bare.bias_share < 0
    assert fit_errors(known, held_out, held_out_ms).mean_share < bare.mean_share

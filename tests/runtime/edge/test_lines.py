import pytest

from hybridge.errors import ConfigError
from hybridge.runtime.edge.lines import CONNECTS_WITHIN_S, SILENT_CALLS, Lines


class Channel:
    def __init__(self):
        self.closed = False

    def unary_unary(self, method, **serialisers):
        return method

    def close(self):
        self.closed = True


@pytest.fixture
def opened():
    return []


class Clock:
    def __init__(self):
        self.now_s = 100.0

    def __call__(self):
        return self.now_s


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def lines(opened, clock):
    def open_channel():
        opened.append(Channel())
        return opened[-1]

    return Lines(open_channel, "/Infer", clock)


def hear(lines):
    with lines.taken() as line:
        lines.heard(line)


def be_silent(lines, times=1):
    for _ in range(times):
        with lines.taken() as line:
            lines.silent(line)


def test_a_line_is_left_once_a_few_calls_in_a_row_heard_nothing(lines, opened):
    hear(lines)
    be_silent(lines, SILENT_CALLS - 1)
    assert len(opened) == 1
    be_silent(lines)
    assert [channel.closed for channel in opened] == [True, False]


def test_a_line_that_may_still_be_connecting_is_left_alone(lines, opened, clock):
    be_silent(lines, 10 * SILENT_CALLS)
    assert len(opened) == 1
    clock.now_s += CONNECTS_WITHIN_S
    be_silent(lines)  # long enough: it may have connected, and died before it was heard from
    assert [channel.closed for channel in opened] == [True, False]
    clock.now_s += 2 * CONNECTS_WITHIN_S
    be_silent(lines, 10 * SILENT_CALLS)  # it connects at the first call, not before
    assert len(opened) == 2
    clock.now_s += CONNECTS_WITHIN_S
    be_silent(lines)
    assert [channel.closed for channel in opened] == [True, True, False]


def test_whatever_is_heard_counts(lines, opened):
    for _ in range(5):
        be_silent(lines, SILENT_CALLS - 1)
        hear(lines)
    assert len(opened) == 1


def test_a_call_that_is_under_way_keeps_its_line(lines, opened):
    hear(lines)
    with lines.taken() as line:
        be_silent(lines, SILENT_CALLS)
        assert not opened[0].closed
        lines.silent(line)  # it is no longer the newest: there is a new one already
    assert opened[0].closed
    assert len(opened) == 2


def test_closing_closes_all(lines, opened):
    hear(lines)
    with lines.taken():
        be_silent(lines, SILENT_CALLS)
        lines.close()
        assert all(channel.closed for channel in opened)


def test_a_line_is_kept_where_no_other_can_be_opened(opened):
    def open_channel():
        if opened:
            raise ConfigError("the certificate is gone")
        opened.append(Channel())
        return opened[0]

    lines = Lines(open_channel, "/Infer")
    hear(lines)
    be_silent(lines, SILENT_CALLS + 1)
    assert not opened[0].closed

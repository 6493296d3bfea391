import pytest

from hybridge.errors import ConfigError
from hybridge.runtime.edge.lines import SILENT_CALLS, Lines


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


@pytest.fixture
def lines(opened):
    def open_channel():
        opened.append(Channel())
        return opened[-1]

    return Lines(open_channel, "/Infer")


def be_silent(lines, times=1):
    for _ in range(times):
        with lines.taken() as line:
            lines.silent(line)


def test_a_line_is_left_once_a_few_calls_in_a_row_heard_nothing(lines, opened):
    be_silent(lines, SILENT_CALLS - 1)
    assert len(opened) == 1
    be_silent(lines)
    assert [channel.closed for channel in opened] == [True, False]
    be_silent(lines)  # it may be this one that meets a link that is back
    assert [channel.closed for channel in opened] == [True, True, False]


def test_whatever_is_heard_counts(lines, opened):
    for _ in range(5):
        be_silent(lines, SILENT_CALLS - 1)
        lines.heard()
    assert len(opened) == 1


def test_a_call_that_is_under_way_keeps_its_line(lines, opened):
    with lines.taken() as line:
        be_silent(lines, SILENT_CALLS)
        assert not opened[0].closed
        lines.silent(line)  # it is no longer the newest: there is a new one already
    assert opened[0].closed
    assert len(opened) == 2


def test_closing_closes_all(lines, opened):
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
    be_silent(lines, SILENT_CALLS + 1)
    assert not opened[0].closed

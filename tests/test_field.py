"""The field test's two namespaces: what it says where it cannot run, and what it leaves behind."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hybridge.errors import ConfigError
from hybridge.links.trace import Trace

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

from fieldwork import namespaces


def test_missing_tools_are_named(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda tool: None)
    with pytest.raises(ConfigError, match="ip and tc; run: apt-get install iproute2"):
        namespaces.Wire()


def test_it_says_that_it_takes_root(monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda tool: f"/sbin/{tool}")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(ConfigError, match="root"):
        namespaces.Wire()


def test_an_outage_is_shaped_as_little_rather_than_nothing():
    trace = namespaces.shapeable(Trace([0.0, 1.0], [0.0, 1e6], 2.0))
    assert set(trace.bandwidth_bps) == {namespaces.LEAST_BPS, 1e6}


def test_nothing_is_left_behind_whatever_happens():
    try:
        wire = namespaces.Wire()
        with wire:
            before = listed()
            raise KeyError
    except ConfigError as error:
        pytest.skip(str(error))
    except KeyError:
        pass
    assert wire.edge in before
    assert wire.edge not in listed()
    assert wire.cloud not in listed()


def listed():
    return subprocess.run(["ip", "netns"], capture_output=True, text=True, check=True).stdout

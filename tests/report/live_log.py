"""A log for tests of the live page."""

from hybridge.plan.answers import Newest
from hybridge.plan.decision import Decision
from hybridge.plan.log import DecisionLog
from hybridge.plan.plan import Leaf


def decision(source="edge", sent=False, **more):
    asked = sent and source == "cloud"
    fields = {
        "path": (int(asked),),
        "leaf": Leaf(combine=Newest(logits="base.logits")),
        "source": source,
        "reason": "score above threshold" if sent else "score within threshold",
        "score": 1.0 if sent else -1.0,
        "latency_ms": 42.0 if asked else 2.0,
        "edge_ms": 2.0,
        "link_ms": 30.0 * asked,
        "cloud_ms": 10.0 * asked,
        "payload_bytes": 500 * asked,
        "wanted": sent,
        "asked": asked,
        "failure": None,
        "bandwidth_bps": 4e6,
        "expected_ms": 40.0,
        "breaker": "closed",
    }
    return Decision(**(fields | more))


KEPT = decision()
SENT = decision("cloud", sent=True)
FELL_BACK = decision("edge", sent=True, reason="fell back: <b>refused</b>", breaker="open")


def write(path, *decisions, **more):
    with DecisionLog(path) as log:
        for turn, each in enumerate(decisions):
            log.append(each, 1000.0 + turn, turn % 3, **more)

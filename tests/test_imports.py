"""What loads what: a plain installation suffices to run, and nothing loads before it is needed."""

import json
import subprocess
import sys

import pytest

from hybridge.plan.bundle import save_bundle
from tiny_plans import pair_plan

# Hides every module that `pip install hybridge` without extras does not bring.
PLAIN = """
import importlib.metadata, re, sys
from packaging.requirements import Requirement

def plain_distributions():
    found, todo = set(), ["hybridge"]
    while todo:
        name = re.sub("[-_.]+", "-", todo.pop()).lower()
        if name in found:
            continue
        found.add(name)
        for text in importlib.metadata.requires(name) or []:
            requirement = Requirement(text)
            if requirement.marker is None or requirement.marker.evaluate({"extra": ""}):
                todo.append(requirement.name)
    return found

plain = plain_distributions()
hidden = {
    module
    for module, owners in importlib.metadata.packages_distributions().items()
    if not any(re.sub("[-_.]+", "-", owner).lower() in plain for owner in owners)
}
assert {"torch", "onnx", "yaml", "scipy", "matplotlib", "pyarrow", "kornia"} <= hidden
assert not hidden & {"numpy", "onnxruntime", "grpc", "google", "PIL", "hybridge"}

class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in hidden:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Hide())
# setuptools loads a hack of its own at start-up, wherever it is installed.
assert not hidden & set(sys.modules) - {"_distutils_hack"}
"""


def run(code: str, *arguments: str) -> str:
    """Run ``code`` in an interpreter of its own, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    return save_bundle(pair_plan(folder, codec="webp"), folder / "bundle").path


def test_a_plain_installation_loads_everything_but_the_design_wing():
    code = """
import importlib, pkgutil
import hybridge

names = []
for module in pkgutil.iter_modules(hybridge.__path__, "hybridge."):
    if module.name in ("hybridge.design", "hybridge.recipes", "hybridge.__main__"):
        continue
    names.append(module.name)
    if module.ispkg:
        path = importlib.import_module(module.name).__path__
        names += [inner.name for inner in pkgutil.walk_packages(path, f"{module.name}.")]
for name in names:
    importlib.import_module(name)
print(len(names))
"""
    assert int(run(PLAIN + code)) > 50


def test_a_plain_installation_answers_and_serves(bundle):
    code = """
import sys
import numpy as np
from hybridge.plan.bundle import load_bundle
from hybridge.runtime.cloud.models import Models
from hybridge.runtime.cloud.server import serving
from hybridge.runtime.edge.edge import EdgeRuntime
from hybridge.runtime.edge.grpc import GrpcTransport

programs = load_bundle(sys.argv[1], place="cloud").plan.programs_at("cloud")
image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3)
with serving(Models({"tiny": programs})) as address:
    with EdgeRuntime(sys.argv[1], GrpcTransport(address, timeout_ms=10_000)) as edge:
        answers = [edge.predict(pixels) for pixels in (image, 255 - image)]
print([answer.failure for answer in answers], {answer.source for answer in answers})
"""
    assert run(PLAIN + code, str(bundle)).startswith("[None, None]")


@pytest.mark.parametrize(
    ("call", "extra"),
    [
        ("hybridge.report.figures:latency_distribution({'edge': np.ones(3)})", "design"),
        ("hybridge.data.digits:open_digits(Geometry(height=8, width=8, channels=1))", "demo"),
    ],
)
def test_what_a_plain_installation_lacks_is_named(call, extra):
    module, function = call.split(":", maxsplit=1)
    code = f"""
import numpy as np
from hybridge.errors import MissingExtraError
from hybridge.plan.tensors import Geometry
from {module} import *
try:
    {function}
except MissingExtraError as error:
    print(error)
"""
    assert f"pip install 'hybridge[{extra}]'" in run(PLAIN + code)


def test_importing_the_package_loads_nothing_else():
    code = """
import json, sys
before = set(sys.modules)
import hybridge
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""
    assert json.loads(run(code)) == ["hybridge"]


def test_the_runtime_loads_no_report_and_no_design():
    code = """
import json, sys
import hybridge.runtime.edge.edge, hybridge.runtime.edge.grpc, hybridge.runtime.cloud.server
print(json.dumps(sorted(sys.modules)))
"""
    loaded = set(json.loads(run(code)))
    assert not loaded & {"torch", "hybridge.report", "hybridge.design", "scipy", "matplotlib"}

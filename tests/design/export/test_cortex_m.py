import importlib.util
import json
import shutil
import subprocess
import time
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from hybridge.design.export import cortex_m, firmware
from hybridge.design.export.c_source import write_c
from hybridge.design.export.cortex_m import Memory, export_cortex_m, read_answers
from hybridge.errors import ConfigError, MissingExtraError, MissingToolError, SignatureError
from hybridge.plan.bundle import Bundle
from hybridge.plan.program import Program
from tiny_plans import PIXELS, images, pair_plan, partition_plan

HAS_GENERATOR = importlib.util.find_spec("emx_onnx_cgen") is not None
MISSING = [tool for tool in firmware.TOOLS if shutil.which(tool) is None]
needs_generator = pytest.mark.skipif(not HAS_GENERATOR, reason="emx-onnx-cgen is not installed")
needs_tools = pytest.mark.skipif(
    bool(MISSING) or not HAS_GENERATOR, reason=f"not installed: {MISSING or 'emx-onnx-cgen'}"
)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return Bundle(pair_plan(tmp_path_factory.mktemp("bundle"), threshold=0.1))


@pytest.fixture(scope="module")
def source(bundle):
    return write_c(bundle.plan.programs["base"])


@pytest.fixture
def written_once(source, monkeypatch):
    """The generator takes seconds to start: the tests share what it wrote."""
    monkeypatch.setattr(cortex_m, "write_c", lambda program: source)


@pytest.fixture(scope="module")
def exported(bundle, source, tmp_path_factory):
    folder = tmp_path_factory.mktemp("firmware")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cortex_m, "write_c", lambda program: source)
        return folder, export_cortex_m(bundle, folder, images(5))


@needs_tools
def test_emulated_board_says_what_onnxruntime_says(exported):
    folder, report = exported
    assert report.images == report.equal_decisions == 5
    assert report.base.largest_difference < 1e-5
    assert report.base_and_router.largest_difference < 1e-5
    assert json.loads((folder / "report.json").read_text()) == report.model_dump()


@needs_tools
def test_router_is_what_the_two_programs_differ_by(exported):
    _, report = exported
    assert report.base.instructions < report.base_and_router.instructions
    assert report.extra_instructions_percent > 0
    assert report.base.text_bytes < report.base_and_router.text_bytes
    assert 0 < report.base.stack_bytes < Memory().stack_bytes
    assert report.base.bss_bytes > Memory().stack_bytes + report.base.arena_bytes


@needs_tools
def test_user_can_run_it_again_with_the_same_counts(exported):
    folder, _ = exported
    before = read_answers(folder / "base.txt")
    (folder / "base.txt").unlink()
    subprocess.run(["make", "-s", "run-base"], cwd=folder, check=True, capture_output=True)
    counts, answers, stack = read_answers(folder / "base.txt")
    assert (counts, stack) == (before[0], before[2])
    np.testing.assert_array_equal(answers, before[1])


@needs_tools
def test_limits_that_are_given_later_are_checked(exported, tmp_path):
    folder, _ = exported
    copy = shutil.copytree(folder, tmp_path / "copy")

    def make(*settings):
        command = ["make", "-s", "size", *settings]
        return subprocess.run(command, cwd=copy, capture_output=True, text=True, check=False)

    linked = (copy / "base.elf").stat().st_mtime_ns
    assert make().returncode == 0
    assert (copy / "base.elf").stat().st_mtime_ns == linked
    assert "overflowed" in make("FLASH_BYTES=2000").stderr


@needs_tools
def test_a_project_is_run_as_it_was_linked(exported, tmp_path):
    folder, _ = exported
    copy = shutil.copytree(folder, tmp_path / "copy")
    memory = {"FLASH_BYTES": 2**20, "RAM_BYTES": 2**20, "STACK_BYTES": 8192}
    firmware.build(copy, memory)
    sizes = firmware.sizes_of(copy, "base")
    firmware.run(copy, "base", timeout_s=60)
    assert firmware.sizes_of(copy, "base") == sizes


@needs_tools
def test_stack_that_is_too_small_ends_in_a_fault_that_says_so(exported, tmp_path):
    folder, _ = exported
    copy = shutil.copytree(folder, tmp_path / "copy")
    firmware.build(copy, {"FLASH_BYTES": 2**22, "RAM_BYTES": 2**22, "STACK_BYTES": 32})
    with pytest.raises(ConfigError, match="the stack grew beyond its reserve"):
        firmware.run(copy, "base", timeout_s=60)


@needs_tools
@pytest.mark.usefixtures("written_once")
def test_folder_that_cannot_be_written_is_an_error(bundle, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot write the project"):
        export_cortex_m(bundle, tmp_path / "file", images(1))


@needs_tools
@pytest.mark.usefixtures("written_once")
@pytest.mark.parametrize(
    ("memory", "message"),
    [
        (Memory(flash_bytes=100), r"the weights take [\d,]+ bytes, the board has 100 of flash"),
        (Memory(ram_bytes=16500), r"tensors and stack take [\d,]+ bytes, .* at node\d+\w*"),
        (Memory(flash_bytes=2000), r"takes [\d,]+ bytes of FLASH, the board has 2,000: [\d,]+ too"),
    ],
)
def test_network_too_large_says_by_how_many_bytes(bundle, tmp_path, memory, message):
    with pytest.raises(ConfigError, match=message):
        export_cortex_m(bundle, tmp_path, images(1), memory)


def test_missing_tool_says_what_to_install(bundle, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ConfigError, match=r"apt-get install .*gcc-arm-none-eabi.* qemu-system-arm"):
        export_cortex_m(bundle, tmp_path / "out", images(1))
    assert not (tmp_path / "out").exists()


def script(folder, name, text):
    """Write a program that stands first on the path."""
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


def test_missing_library_says_what_to_install(tmp_path, monkeypatch):
    for tool in firmware.TOOLS:
        script(tmp_path, tool, "echo '<stdin>:1: fatal error: math.h: No such file' >&2; exit 1")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(MissingToolError, match=r"math\.h.*libnewlib-arm-none-eabi"):
        firmware.check_tools()


def is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().split()[2] != "Z"
    except OSError:
        return False


def test_what_takes_too_long_is_ended_with_all_that_it_started(tmp_path, monkeypatch):
    script(tmp_path, "make", f"sleep 300 & echo $! > {tmp_path}/child; wait")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with pytest.raises(ConfigError, match="did not end within 1 s"):
        firmware.run(tmp_path, "base", timeout_s=1)
    child = (tmp_path / "child").read_text().strip()
    until_s = time.monotonic() + 10
    while is_running(child):
        assert time.monotonic() < until_s
        time.sleep(0.01)


def test_a_build_that_takes_too_long_is_told(tmp_path, monkeypatch):
    def too_long(folder, *arguments):
        raise subprocess.TimeoutExpired("make", 600)

    monkeypatch.setattr(firmware, "_make", too_long)
    with pytest.raises(ConfigError, match=r"did not build within 600 s.*make -C"):
        firmware.build(tmp_path, {"FLASH_BYTES": 1})


def test_missing_generator_says_which_extra(bundle, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "emx_onnx_cgen.compiler", None)
    with pytest.raises(MissingExtraError, match=r"hybridge\[cortex-m\]"):
        write_c(bundle.plan.programs["base"])


@needs_generator
def test_unsupported_operator_is_named_with_its_node(tmp_path):
    nodes = [
        helper.make_node("Cast", ["pixels"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("GlobalLpPool", ["float"], ["logits"], name="pool_of_powers"),
    ]
    make = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "odd",
        [make("pixels", TensorProto.UINT8, ["B", 4, 4, 3])],
        [make("logits", TensorProto.FLOAT, ["B", 4, 1, 1])],
    )
    path = tmp_path / "odd.onnx"
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    program = Program(
        name="odd", sha256="0" * 64, size_bytes=1, inputs=(PIXELS,), outputs=(), path=path
    )
    with pytest.raises(ConfigError, match=r"'pool_of_powers' \(GlobalLpPool\).*other operators"):
        write_c(program)


def test_bundle_of_several_edge_programs_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="one program on the edge"):
        export_cortex_m(Bundle(partition_plan(tmp_path)), tmp_path / "out", images(1))


def test_images_of_another_shape_are_refused(bundle, tmp_path):
    with pytest.raises(SignatureError, match="expected uint8"):
        export_cortex_m(bundle, tmp_path, np.zeros((1, 5, 5, 3), np.uint8))
    with pytest.raises(SignatureError, match="at least one image"):
        export_cortex_m(bundle, tmp_path, images(0))


@pytest.mark.parametrize("text", ["", "answer 40 0x1.8p+1\n", "answer x\nstack 3\n"])
def test_damaged_answers_are_an_error(tmp_path, text):
    (tmp_path / "base.txt").write_text(text)
    with pytest.raises(ConfigError, match="does not hold what the firmware writes"):
        read_answers(tmp_path / "base.txt")

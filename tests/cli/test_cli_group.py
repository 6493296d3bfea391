"""What holds for every command."""

import subprocess
import sys

import pytest
import typer
from pydantic import BaseModel
from typer.testing import CliRunner

from hybridge import __version__
from hybridge.cli.group import Commands
from hybridge.errors import ConfigError

NAMES = [
    "demo",
    "check",
    "train",
    "evaluate",
    "tune",
    "search",
    "estimate",
    "emulate",
    "show",
    "export",
    "serve",
    "run",
    "gateway",
    "replay",
    "dashboard",
    "keygen",
    "sign",
    "nets",
    "macs",
    "partition",
    "devices",
    "profile",
    "traces",
    "links",
    "tree",
    "supernet",
]


def of_python(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout


def failing_with(error: BaseException):
    """Return what becomes of a command that raises ``error``."""
    other = typer.Typer(cls=Commands, rich_markup_mode=None)

    @other.command()
    def fail() -> None:
        raise error

    @other.callback()
    def root() -> None: ...

    return CliRunner().invoke(other, ["fail"])


def test_help_names_every_command(call):
    called = call("--help")
    assert called.status == 0
    listed = called.out.partition("Commands:")[2].split("\n")
    assert [line.split()[0] for line in listed if line.strip()] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_examples(call, name):
    called = call(name, "--help")
    assert called.status == 0
    assert f"\n    hybridge {name}" in called.out.partition("Examples:")[2]


def test_version(call):
    assert call("--version").out == f"hybridge {__version__}\n"


def test_a_misspelt_command_is_corrected(call):
    call("trian").assert_refused("'trian'", "Did you mean 'train'?", "hybridge --help")


def test_a_misspelt_option_is_corrected(call):
    call("train", "a.yaml", "--splitz", 4).assert_refused("--splitz", "--splits")


def test_help_loads_nothing_heavy():
    loaded = of_python(
        "import sys, hybridge.cli.main\n"
        "print(sorted({name.partition('.')[0] for name in sys.modules}))"
    )
    for package in ("torch", "onnxruntime", "grpc", "matplotlib", "yaml", "pyarrow"):
        assert f"'{package}'" not in loaded


def test_python_m_hybridge():
    command = [sys.executable, "-m", "hybridge", "--version"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout == f"hybridge {__version__}\n"


def test_an_error_of_ours_is_one_line():
    result = failing_with(ConfigError("two\nlines"))
    assert (result.exit_code, result.stderr) == (2, "error: two lines\n")


def test_a_validation_error_is_one_line():
    class Model(BaseModel):
        number: int

    with pytest.raises(ValueError, match="number") as caught:
        Model.model_validate({"number": "x"})
    result = failing_with(caught.value)
    assert result.exit_code == 2
    assert result.stderr.startswith("error: number: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("module", "extra"), [("torch.nn", "design"), ("pyarrow", "data"), ("mlxtend.data", "demo")]
)
def test_a_missing_package_names_its_extra(module, extra):
    result = failing_with(ModuleNotFoundError("no such module", name=module))
    assert result.exit_code == 2
    assert f"pip install 'hybridge[{extra}]'" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_missing_module_of_ours_is_a_fault_to_be_seen():
    error = ModuleNotFoundError("no such module", name="hybridge.nowhere")
    assert failing_with(error).exception is error


def test_a_file_that_cannot_be_written_is_named():
    result = failing_with(PermissionError(13, "Permission denied", "/somewhere/out"))
    assert (result.exit_code, result.stderr) == (2, "error: /somewhere/out: Permission denied\n")


def test_an_interrupt_is_quiet():
    result = failing_with(KeyboardInterrupt())
    assert (result.exit_code, result.output) == (130, "")


def test_a_reader_that_has_gone_is_no_error():
    reader = subprocess.run(
        f'{sys.executable} -m hybridge --help | head -c 1; exit "${{PIPESTATUS[0]}}"',
        shell=True,
        executable="/bin/bash",
        capture_output=True,
        text=True,
    )
    assert reader.stderr == ""


def test_the_summaries_fit_on_their_lines(call):
    assert "..." not in call("--help").out.partition("check")[2]

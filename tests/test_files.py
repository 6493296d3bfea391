from dataclasses import dataclass

import pytest

from hybridge.errors import DataError
from hybridge.files import read_json_as, replacing, write_atomically, write_json


@dataclass
class Box:
    width: int


def test_what_is_written_is_read_again(tmp_path):
    write_json(tmp_path / "new/box.json", {"width": 3})
    assert read_json_as(Box, tmp_path / "new/box.json", "box", "draw one") == Box(3)


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def fail():
        with replacing(path) as part:
            part.write_bytes(b"half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"width": "wide"}', "\0"])
def test_a_file_that_holds_something_else_is_refused_in_one_line(tmp_path, content):
    (tmp_path / "box.json").write_text(content)
    with pytest.raises(DataError, match=r"box\.json is no box: .*; draw one") as caught:
        read_json_as(Box, tmp_path / "box.json", "box", "draw one")
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"cannot read box .*none\.json: No such file"):
        read_json_as(Box, tmp_path / "none.json", "box", "draw one")

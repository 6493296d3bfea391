import pytest

from hybridge.errors import ConfigError
from hybridge.runtime.cloud.models import Models, OtherVersionError, UnservedError
from tiny_plans import LOGITS, PIXELS, pair_programs, write_program


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    return pair_programs(tmp_path_factory.mktemp("old"))["global"]


@pytest.fixture(scope="module")
def new(tmp_path_factory):
    return write_program(tmp_path_factory.mktemp("new"), "global", PIXELS, (LOGITS,), seed=9)


def test_a_program_is_found_by_either_name_with_or_without_its_version(old):
    models = Models({"pets": [old]})
    for name in ("global", "pets/global"):
        for sha256 in ("", old.sha256):
            assert models.find(name, sha256).program is old
    assert models.names == ["global", "pets/global"]


def test_another_version_is_refused_naming_both(old):
    with pytest.raises(OtherVersionError) as caught:
        Models({"pets": [old]}).find("global", "b" * 64)
    assert "b" * 64 in str(caught.value)
    assert old.sha256 in str(caught.value)


def test_an_unknown_name_is_refused_naming_the_nearest(old):
    with pytest.raises(UnservedError, match="did you mean 'global'"):
        Models({"pets": [old]}).find("globl")


def test_a_name_that_bundles_share_needs_its_bundle_or_its_version(old, new):
    models = Models({"pets": [old], "birds": [new]})
    with pytest.raises(UnservedError, match="birds/global or pets/global"):
        models.find("global")
    assert models.find("birds/global").program is new
    assert models.find("global", old.sha256).program is old


def test_bundles_of_one_name_are_told_apart_by_version(old, new):
    models = Models({"pets": [old, new]})
    for name in ("global", "pets/global"):
        with pytest.raises(UnservedError, match="ambiguous") as caught:
            models.find(name)
        assert old.sha256 in str(caught.value)
        assert new.sha256 in str(caught.value)
        assert models.find(name, new.sha256).program is new


def test_one_program_in_two_bundles_is_loaded_once(old):
    models = Models({"pets": [old], "more": [old]})
    assert len(list(models)) == 1
    assert models.find("global") is models.find("more/global")


def test_nothing_to_serve_is_refused():
    with pytest.raises(ConfigError, match="'pets'"):
        Models({"pets": []})

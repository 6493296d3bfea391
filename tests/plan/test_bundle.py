import json
import math
import os
import shutil

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hybridge.errors import BundleError, PlanError
from hybridge.plan import bundle
from hybridge.plan.bundle import inspect_bundle, load_bundle, save_bundle
from hybridge.plan.manifest import write_manifest
from hybridge.plan.variants import edge_only, with_threshold
from tiny_plans import assert_same_rehearsal, pair_plan, pair_rehearsal

METADATA = {"name": "tiny", "seed": 7, "figures": {"accuracy": 0.5, "codecs": ["raw"]}}


@pytest.fixture
def plan(tmp_path):
    return pair_plan(tmp_path)


@pytest.fixture
def saved(plan, tmp_path):
    rehearsal = pair_rehearsal(plan, [0.0, 1.0, 2.0])
    return save_bundle(plan, tmp_path / "bundle", rehearsal, METADATA)


def files_of(directory):
    return sorted(path for path in directory.rglob("*") if path.is_file())


def without_paths(plan):
    return type(plan).model_validate_json(plan.model_dump_json())


def test_a_bundle_comes_back_as_it_was_saved(plan, saved):
    loaded = load_bundle(saved.path)
    assert loaded.plan == saved.plan
    assert without_paths(loaded.plan) == without_paths(plan)
    assert loaded.metadata == METADATA
    assert_same_rehearsal(loaded.rehearsal, saved.rehearsal)
    for program in loaded.plan.programs.values():
        assert program.path.read_bytes() == plan.programs[program.name].path.read_bytes()


def test_a_bundle_holds_these_files_and_no_others(saved):
    assert [path.relative_to(saved.path).as_posix() for path in files_of(saved.path)] == [
        "bundle.json",
        "manifest.json",
        "programs/base.onnx",
        "programs/global.onnx",
        "rehearsal.safetensors",
    ]


def test_a_bundle_can_move(saved, tmp_path):
    moved = shutil.move(saved.path, tmp_path / "elsewhere")
    path = load_bundle(moved).plan.programs["base"].path
    assert path == tmp_path / "elsewhere" / "programs" / "base.onnx"


def test_a_rehearsal_and_metadata_may_be_left_out(plan, tmp_path):
    save_bundle(plan, tmp_path / "bundle")
    loaded = load_bundle(tmp_path / "bundle")
    assert loaded.rehearsal is None
    assert loaded.metadata == {}


@pytest.mark.parametrize("threshold", [math.inf, -math.inf, 0.1, 5e-324])
def test_thresholds_come_back_to_the_last_bit(plan, tmp_path, threshold):
    save_bundle(with_threshold(plan, threshold), tmp_path / "bundle")
    text = (tmp_path / "bundle" / "bundle.json").read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    loaded = load_bundle(tmp_path / "bundle").plan
    assert loaded.root.then.chooser.threshold == threshold


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_one_changed_byte_anywhere_is_noticed(saved, data):
    path = data.draw(st.sampled_from(files_of(saved.path)))
    original = path.read_bytes()
    index = data.draw(st.integers(0, len(original) - 1))
    changed = bytearray(original)
    changed[index] ^= data.draw(st.integers(1, 255))
    path.write_bytes(changed)
    try:
        with pytest.raises(BundleError) as caught:
            load_bundle(saved.path)
        assert str(saved.path) in str(caught.value)
        assert "\n" not in str(caught.value)
    finally:
        path.write_bytes(original)


@pytest.mark.parametrize(
    "name", ["bundle.json", "programs/base.onnx", "rehearsal.safetensors", "manifest.json"]
)
def test_a_missing_or_shortened_file_is_named(saved, name):
    path = saved.path / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError, match=name):
        load_bundle(saved.path)
    path.unlink()
    with pytest.raises(BundleError, match=name):
        load_bundle(saved.path, verify=False)


@pytest.mark.parametrize("what", ["nothing", "file", "empty directory"])
def test_what_is_no_bundle_is_refused(tmp_path, what):
    path = tmp_path / "thing"
    if what == "file":
        path.write_text("hello")
    elif what == "empty directory":
        path.mkdir()
    with pytest.raises(BundleError, match="not a bundle"):
        load_bundle(path)


def rewrite(bundle, name, change):
    """Change a JSON file and make the manifest agree, as somebody else's writer would."""
    path = bundle.path / name
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value, indent=1, sort_keys=True) + "\n")
    if name != "manifest.json":
        (bundle.path / "manifest.json").unlink()
        write_manifest(bundle.path)


@pytest.mark.parametrize("name", ["bundle.json", "manifest.json"])
def test_an_unknown_format_is_refused(saved, name):
    rewrite(saved, name, lambda value: value.update(format=2))
    with pytest.raises(BundleError, match=f"{name}: expected format 1, got 2"):
        load_bundle(saved.path)


@pytest.mark.parametrize("name", ["bundle.json", "manifest.json"])
def test_extra_keys_are_refused(saved, name):
    rewrite(saved, name, lambda value: value.update(more=1))
    with pytest.raises(BundleError, match=f"{name}: more: Extra inputs"):
        load_bundle(saved.path)


def test_a_plan_that_does_not_fit_is_refused_in_one_line(saved):
    rewrite(saved, "bundle.json", lambda value: value["plan"]["root"].update(program="bass"))
    with pytest.raises(BundleError, match=r"bundle\.json: the plan has no program 'bass'"):
        load_bundle(saved.path)


def test_an_unknown_kind_of_chooser_is_refused_in_one_line(saved):
    def set_kind(value):
        value["plan"]["root"]["then"]["chooser"]["kind"] = "oracle"

    rewrite(saved, "bundle.json", set_kind)
    with pytest.raises(BundleError, match=r"bundle\.json: plan\..*chooser: .*'oracle'") as raised:
        load_bundle(saved.path)
    assert "\n" not in str(raised.value)


def test_a_file_that_the_plan_does_not_know_is_refused(saved):
    shutil.copy(saved.path / "programs/base.onnx", saved.path / "programs/odd.onnx")
    rewrite(saved, "bundle.json", lambda value: None)
    with pytest.raises(BundleError, match=r"disagree about: programs/odd\.onnx"):
        load_bundle(saved.path)


def test_a_program_that_is_not_the_plan_s_is_refused(saved):
    shutil.copy(saved.path / "programs/base.onnx", saved.path / "programs/global.onnx")
    rewrite(saved, "bundle.json", lambda value: None)
    with pytest.raises(BundleError, match=r"disagree about: programs/global\.onnx"):
        load_bundle(saved.path)


@pytest.mark.parametrize(("place", "held", "absent"), [
    ("edge", "base", "global"),
    ("cloud", "global", "base"),
])  # fmt: skip
def test_a_place_needs_only_its_own_programs(saved, place, held, absent):
    (saved.path / "programs" / f"{absent}.onnx").unlink()
    plan = load_bundle(saved.path, place=place).plan
    assert plan.programs[held].path.is_file()
    assert plan.programs[absent].path is None
    with pytest.raises(BundleError, match=f"{absent}.onnx is missing"):
        load_bundle(saved.path)


@pytest.mark.parametrize(("place", "other"), [("edge", "global"), ("cloud", "base")])
def test_a_changed_byte_of_the_other_place_is_noticed_too(saved, place, other):
    path = saved.path / "programs" / f"{other}.onnx"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(BundleError, match=f"{other}.onnx is damaged"):
        load_bundle(saved.path, place=place)


def test_a_device_verifies_the_rehearsal_and_does_not_read_it(saved, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(bundle, "parse_rehearsal", lambda data: pytest.fail("it was read"))
        assert load_bundle(saved.path, place="edge").rehearsal is None
    path = saved.path / "rehearsal.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"!")
    with pytest.raises(BundleError, match="rehearsal"):
        load_bundle(saved.path, place="edge")


def test_a_bundle_may_be_inspected_wherever_parts_of_it_lie(saved):
    assert inspect_bundle(saved.path).plan == load_bundle(saved.path).plan
    (saved.path / "programs/global.onnx").unlink()
    found = inspect_bundle(saved.path)
    assert found.plan.programs["base"].path.is_file()
    assert found.plan.programs["global"].path is None
    assert_same_rehearsal(found.rehearsal, saved.rehearsal)


def test_a_save_that_fails_halfway_never_deletes_the_only_good_copy(saved, monkeypatch):
    rename, parent = os.rename, saved.path.parent
    kept = parent / ".bundle.old"
    shutil.copytree(saved.path, kept)  # what another save that failed has left

    def failing(source, target):
        if os.fspath(target) == os.fspath(saved.path):
            raise OSError("disk full")
        rename(source, target)

    monkeypatch.setattr(os, "rename", failing)
    with pytest.raises(BundleError, match="disk full"):
        save_bundle(edge_only(saved.plan), saved.path)
    load_bundle(kept)
    (left,) = (path for path in parent.glob(".bundle.*.old"))
    assert load_bundle(left).metadata == METADATA


def test_saving_again_replaces_the_older_bundle(saved):
    save_bundle(edge_only(saved.plan), saved.path)
    loaded = load_bundle(saved.path)
    assert list(loaded.plan.programs) == ["base"]
    assert loaded.rehearsal is None
    assert [path.name for path in saved.path.parent.iterdir() if path.is_dir()] == ["bundle"]


def test_what_is_not_a_bundle_is_never_overwritten(plan, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_text("cat")
    with pytest.raises(BundleError, match="not a bundle"):
        save_bundle(plan, tmp_path / "photos")
    assert (tmp_path / "photos" / "cat.jpg").read_text() == "cat"


def test_a_bundle_with_something_else_in_it_is_never_overwritten(saved):
    (saved.path / "notes.txt").write_text("mine")
    with pytest.raises(BundleError, match=r"notes\.txt"):
        save_bundle(saved.plan, saved.path)
    assert (saved.path / "notes.txt").read_text() == "mine"


def test_a_failed_save_leaves_the_older_bundle_and_nothing_else(saved, tmp_path):
    lost = saved.plan.programs["global"].model_copy(update={"path": tmp_path / "lost.onnx"})
    broken = saved.plan.model_copy(update={"programs": saved.plan.programs | {"global": lost}})
    before = files_of(tmp_path)
    with pytest.raises(BundleError, match="export it first"):
        save_bundle(broken, saved.path)
    assert files_of(tmp_path) == before
    load_bundle(saved.path)


def test_a_program_s_file_must_be_the_one_that_is_meant(plan, tmp_path):
    plan.programs["base"].path.write_bytes(b"something else")
    with pytest.raises(BundleError, match="not the file that program 'base' means"):
        save_bundle(plan, tmp_path / "bundle")
    assert not (tmp_path / "bundle").exists()


def test_a_rehearsal_of_another_plan_is_refused(saved, tmp_path):
    with pytest.raises(PlanError, match="leaves"):
        save_bundle(edge_only(saved.plan), tmp_path / "other", saved.rehearsal)


def test_a_directory_that_cannot_be_written_is_an_error(plan, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BundleError, match="cannot write bundle"):
        save_bundle(plan, tmp_path / "file" / "bundle")


def test_a_saved_bundle_can_be_read_by_others(saved):
    umask = os.umask(0)
    os.umask(umask)
    assert saved.path.stat().st_mode & 0o777 == 0o777 & ~umask

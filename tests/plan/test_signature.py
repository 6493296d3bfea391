"""Bundles that somebody vouches for, and what becomes of others."""

import json
import shutil
import stat
import sys

import pytest

import hybridge.plan.manifest as module
from hybridge.errors import BundleError, ConfigError, MissingExtraError
from hybridge.plan.bundle import inspect_bundle, load_bundle, save_bundle
from hybridge.plan.manifest import write_manifest
from hybridge.plan.signature import make_keys, sign_bundle
from tiny_plans import pair_plan


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return {name: make_keys(folder / name) for name in ("ours", "theirs")}


@pytest.fixture
def signed(tmp_path, keys):
    saved = save_bundle(pair_plan(tmp_path), tmp_path / "bundle")
    sign_bundle(saved.path, keys["ours"][0])
    return saved.path


def loaded(path, keys, *names):
    return load_bundle(path, trusted_keys=[keys[name][1] for name in names])


def test_a_signed_bundle_is_loaded_by_whoever_trusts_the_key(signed, keys):
    assert loaded(signed, keys, "ours").plan == load_bundle(signed).plan
    assert loaded(signed, keys, "theirs", "ours").path == signed
    assert inspect_bundle(signed).path is not None


def test_a_signed_bundle_can_move(signed, keys, tmp_path):
    assert loaded(shutil.move(signed, tmp_path / "elsewhere"), keys, "ours").plan.programs


def test_an_unsigned_bundle_is_refused_with_what_to_do(signed, keys):
    (signed / "signature.json").unlink()
    with pytest.raises(BundleError, match=r"not signed.*hybridge sign"):
        loaded(signed, keys, "ours")
    assert load_bundle(signed).plan.programs


def test_another_key_is_refused_by_name(signed, keys):
    public = json.loads((signed / "signature.json").read_text())["public_key"]
    with pytest.raises(BundleError) as caught:
        loaded(signed, keys, "theirs")
    assert public in str(caught.value)
    with pytest.raises(BundleError, match="not trusted"):
        load_bundle(signed, trusted_keys=[])


def test_what_was_changed_and_described_anew_is_refused(signed, keys):
    head = signed / "bundle.json"
    head.write_text(head.read_text().replace("cat", "cow"))
    (signed / "manifest.json").unlink()
    signature = (signed / "signature.json").read_bytes()
    (signed / "signature.json").unlink()
    write_manifest(signed)
    (signed / "signature.json").write_bytes(signature)
    assert load_bundle(signed).plan.class_names[0] == "cow"
    with pytest.raises(BundleError, match=r"not that of its manifest\.json"):
        loaded(signed, keys, "ours")


def test_a_signature_vouches_for_hashes_so_they_are_compared(signed, keys):
    program = signed / "programs/global.onnx"
    program.write_bytes(program.read_bytes()[:-1] + b"?")
    assert load_bundle(signed, verify=False)
    with pytest.raises(BundleError, match=r"global\.onnx is damaged"):
        load_bundle(signed, verify=False, trusted_keys=[keys["ours"][1]])


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda value: value.update(format=2), "expected format 1, got 2"),
        (lambda value: value.update(algorithm="none"), "algorithm"),
        (lambda value: value.update(more=1), "more"),
        (lambda value: value.update(signature="AAAA"), "expected 64 bytes as base64, got 3"),
        (lambda value: value.update(signature="?"), "expected base64"),
        (lambda value: value.update(public_key="é"), "expected base64"),
        (lambda value: value.pop("public_key"), "public_key"),
    ],
)
def test_a_damaged_signature_is_told_in_one_line(signed, keys, change, match):
    path = signed / "signature.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(json.dumps(value))
    with pytest.raises(BundleError, match=match) as caught:
        loaded(signed, keys, "ours")
    assert "\n" not in str(caught.value)


def test_a_signature_of_another_bundle_does_not_fit(signed, keys, tmp_path):
    other = save_bundle(pair_plan(tmp_path, threshold=1.0), tmp_path / "other").path
    shutil.copy(signed / "signature.json", other)
    with pytest.raises(BundleError, match=r"not that of its manifest\.json"):
        loaded(other, keys, "ours")


def test_saving_anew_drops_the_signature(signed, keys):
    bundle = load_bundle(signed)
    save_bundle(bundle.plan, signed)
    assert not (signed / "signature.json").exists()
    sign_bundle(signed, keys["ours"][0])
    sign_bundle(signed, keys["theirs"][0])
    assert loaded(signed, keys, "theirs")


def test_keys_are_their_owners_and_never_overwritten(tmp_path):
    private, public = make_keys(tmp_path / "new/team.key")
    assert (private.name, public.name) == ("team.key", "team.key.pub")
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    before = private.read_bytes(), public.read_bytes()
    with pytest.raises(ConfigError, match=r"team\.key\.pub exists"):
        make_keys(private)
    assert (private.read_bytes(), public.read_bytes()) == before
    public.unlink()
    with pytest.raises(ConfigError, match="never overwritten"):
        make_keys(private)
    assert not public.exists()


def test_what_is_no_key_is_refused_without_being_repeated(signed, keys, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("correct horse battery staple")
    ours = keys["ours"]
    for private in (secret, tmp_path / "gone", ours[1]):
        with pytest.raises(ConfigError, match=private.name) as caught:
            sign_bundle(signed, private)
        assert "horse" not in str(caught.value)
    for public in (secret, tmp_path / "gone", ours[0]):
        with pytest.raises(ConfigError, match=public.name):
            load_bundle(signed, trusted_keys=[public])


def test_without_the_extra_it_is_named(signed, keys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "cryptography", None)
    for needing in (
        lambda: make_keys(tmp_path / "new"),
        lambda: sign_bundle(signed, keys["ours"][0]),
        lambda: loaded(signed, keys, "ours"),
        lambda: load_bundle(signed, trusted_keys=()),
    ):
        with pytest.raises(MissingExtraError, match=r"hybridge\[trust\]"):
            needing()
    assert load_bundle(signed).plan.programs


def test_what_was_hashed_is_what_is_parsed(signed, keys, monkeypatch):
    """Whoever swaps a file between its being checked and its being read gains nothing."""
    swapped = []

    def swap(make):
        def hashed(content):
            found = make(content)
            if not swapped and found == manifest["files"]["bundle.json"]["sha256"]:
                swapped.append(head.write_text(head.read_text().replace("0.0", "9.9")))
            return found

        return hashed

    head = signed / "bundle.json"
    manifest = json.loads((signed / "manifest.json").read_text())
    before = load_bundle(signed).plan
    for name in ("hash_file", "hash_bytes"):
        monkeypatch.setattr(module, name, swap(getattr(module, name)), raising=False)
    assert loaded(signed, keys, "ours").plan == before
    assert swapped

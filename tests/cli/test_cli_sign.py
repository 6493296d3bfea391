"""``keygen`` and ``sign``, and commands that take signed bundles alone."""

from processes import finished

from hybridge.plan.signature import make_keys


def test_a_bundle_is_signed_and_then_trusted(call, own_bundle, pictures, tmp_path):
    made = call("keygen", tmp_path / "team.key")
    assert (made.status, made.err) == (0, "")
    assert "team.key.pub" in made.out
    trusted = "--trusted-key", tmp_path / "team.key.pub"
    call("run", own_bundle.path, pictures[0], *trusted).assert_refused("not signed", "sign BUNDLE")
    signed = call("sign", own_bundle.path, "--key", tmp_path / "team.key")
    assert (signed.status, signed.err) == (0, "")
    assert "signature.json" in signed.out
    assert call("run", own_bundle.path, pictures[0], *trusted).status == 0


def test_tuning_drops_the_signature(call, own_bundle, tmp_path):
    private, public = make_keys(tmp_path / "team.key")
    call("sign", own_bundle.path, "--key", private)
    assert call("tune", own_bundle.path, "--coverage", 0.8, "--write").status == 0
    call("serve", own_bundle.path, "--trusted-key", public).assert_refused("not signed")


def test_a_damaged_bundle_is_not_signed(call, own_bundle, tmp_path):
    private, _ = make_keys(tmp_path / "team.key")
    program = own_bundle.path / "programs/base.onnx"
    program.write_bytes(program.read_bytes()[:-1] + b"?")
    call("sign", own_bundle.path, "--key", private).assert_refused("base.onnx", "damaged")


def test_a_key_that_is_there_is_kept(call, tmp_path):
    private, _ = make_keys(tmp_path / "team.key")
    call("keygen", private).assert_refused("exists")


def test_without_the_extra_it_is_named(tmp_path):
    done = finished("keygen", tmp_path / "team.key", bare=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert "pip install 'hybridge[trust]'" in done.stderr

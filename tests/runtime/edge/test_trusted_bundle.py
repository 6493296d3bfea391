"""A runtime that is given a folder takes only what somebody vouches for, if it is told whom."""

import pytest

from hybridge.errors import BundleError, ConfigError
from hybridge.plan.bundle import load_bundle, save_bundle
from hybridge.plan.signature import make_keys, sign_bundle
from hybridge.runtime.edge.edge import EdgeRuntime
from tiny_plans import images, pair_plan


def test_a_folder_is_loaded_only_if_a_trusted_key_signed_it(tmp_path):
    folder = save_bundle(pair_plan(tmp_path), tmp_path / "bundle").path
    ours, theirs = make_keys(tmp_path / "ours"), make_keys(tmp_path / "theirs")
    sign_bundle(folder, ours[0])
    with EdgeRuntime(folder, trusted_keys=[ours[1]]) as edge:
        assert edge.predict(images(1)[0]).source == "edge"
    with pytest.raises(BundleError, match="signed"):
        EdgeRuntime(folder, trusted_keys=[theirs[1]])
    with pytest.raises(ConfigError, match="load_bundle"):
        EdgeRuntime(load_bundle(folder), trusted_keys=[ours[1]])

import numpy as np

from hybridge.data.cache import cache_folder
from hybridge.design import store as store_module
from hybridge.design.store import Store


def test_what_is_put_comes_back(tmp_path):
    arrays = {"a": np.arange(6).reshape(2, 3).T, "b": np.array(3, np.float32)}
    Store(tmp_path).put("key", arrays)
    found = Store(tmp_path).get("key")
    assert set(found) == {"a", "b"}
    assert np.array_equal(found["a"], arrays["a"])
    assert found["b"].dtype == np.float32
    assert found["b"].shape == ()
    assert Store(tmp_path).get("other") is None


def test_a_result_is_computed_once(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return {"x": np.ones(3)}

    for _ in range(3):
        assert np.array_equal(Store(tmp_path).keep("key", compute)["x"], np.ones(3))
    assert len(calls) == 1


def test_a_damaged_file_is_computed_anew(tmp_path):
    store = Store(tmp_path)
    store.put("key", {"x": np.ones(3)})
    (file,) = tmp_path.rglob("*.safetensors")
    file.write_bytes(b"\x00")
    assert store.get("key") is None
    store.keep("key", lambda: {"x": np.zeros(2)})
    assert np.array_equal(store.get("key")["x"], np.zeros(2))
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [file]


def test_the_default_folder_follows_the_environment(monkeypatch, tmp_path):
    monkeypatch.setenv("HYBRIDGE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path
    Store().put("key", {"x": np.ones(1)})
    assert list(tmp_path.rglob("key.safetensors"))


def test_of_several_processes_one_writes(tmp_path, monkeypatch):
    monkeypatch.setattr(store_module, "is_main", lambda: False)
    assert Store(tmp_path).keep("key", lambda: {"x": np.ones(3)})["x"].sum() == 3
    assert not list(tmp_path.iterdir())

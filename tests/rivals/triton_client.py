"""NVIDIA's client: ``triton_client.py TARGET MODEL FILE`` prints what the server says.

Runs where that client is installed: in one process with KServe, its messages clash.
"""

import json
import sys
import time

import numpy as np
from tritonclient.grpc import InferenceServerClient, InferInput, InferRequestedOutput
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

TIMES = 200


def main() -> None:
    target, model, file = sys.argv[1:]
    rows = np.load(file)
    client = InferenceServerClient(target)
    metadata = client.get_model_metadata(model, as_json=True)
    (name,) = [tensor["name"] for tensor in metadata["inputs"]]
    tensor = InferInput(name, list(rows.shape), np_to_triton_dtype(rows.dtype))
    tensor.set_data_from_numpy(rows)
    wanted = [InferRequestedOutput(output["name"]) for output in metadata["outputs"]]
    times_ms = []
    for _ in range(TIMES):
        began_s = time.perf_counter()
        answer = client.infer(model, [tensor], outputs=wanted, request_id="7")
        times_ms.append((time.perf_counter() - began_s) * 1e3)
    try:
        client.infer("nobody", [tensor])
        refusal = ""
    except InferenceServerException as error:
        refusal = error.status()
    found = {
        "live": client.is_server_live(),
        "ready": client.is_server_ready(),
        "model_ready": client.is_model_ready(model),
        "other_ready": client.is_model_ready("nobody"),
        "server": client.get_server_metadata(as_json=True),
        "model": metadata,
        "id": answer.get_response().id,
        "outputs": {
            each["name"]: answer.as_numpy(each["name"]).tolist() for each in metadata["outputs"]
        },
        "refusal": refusal,
        "asked": TIMES,
        "median_ms": float(np.median(times_ms)),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()

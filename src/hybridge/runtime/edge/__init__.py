"""The device's side: the runtime and its ways to reach the cloud."""

"""The runtime wing: edge, cloud and what lies between, without torch."""

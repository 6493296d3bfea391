"""What it costs: devices, prices, operating points, estimates."""

# Importing the presets registers them.
from hybridge.cost import presets as presets

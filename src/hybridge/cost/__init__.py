"""What it costs: devices, prices, operating points, estimates."""

"""The cloud's side: models, batches, and the service that is asked for them."""

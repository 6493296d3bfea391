"""What crosses the link: images and tensors, encoded and decoded."""

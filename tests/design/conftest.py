"""Small networks are slower on many threads than on one."""

import torch

torch.set_num_threads(1)

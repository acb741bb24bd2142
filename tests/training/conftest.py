"""One thread: the networks are small, bits depend on the number, and tests may run beside each other."""

import torch

torch.set_num_threads(1)

"""edgenet: convolutional networks on the CPUs of laptops and Raspberry Pis."""

__version__ = "0.1.0"

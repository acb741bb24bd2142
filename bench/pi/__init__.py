"""Predicted speed on Raspberry Pis: the kernels' Arm assembly through llvm-mca, with a model of the memory."""

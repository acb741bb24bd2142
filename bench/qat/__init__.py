"""What int8 costs in accuracy after training, and after quantization-aware training, on labelled test pictures."""

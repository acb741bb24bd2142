"""What separable convolution costs in accuracy: two twins, one recipe, float32 and int8, beside what each computes."""

"""fastconv: convolutional networks on CPUs, readable to the bottom."""

"""What every room may use: trees, images, sums over replicas."""

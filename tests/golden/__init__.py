"""What the published modules compute at toy size."""

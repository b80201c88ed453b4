"""The outputs of the published modules at toy size."""

"""Helpers for images, trees of arrays, files, fields and replicas."""

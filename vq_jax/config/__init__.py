"""Configs: their schema, the registry of types, and modules built from them."""

"""Reading of released checkpoints, and their conversion by tables of rules.

`vq_jax.convert` and `vq_jax.features` share it.
"""

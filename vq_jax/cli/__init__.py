"""The command `vqjax`: thin, no logic."""

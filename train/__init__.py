"""The programs that train; they run from the checkout."""

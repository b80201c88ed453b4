"""TODO."""
def write(folder): pass

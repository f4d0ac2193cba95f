"""From a path to batches: find, read, split, load. Labels are read for transfer only."""

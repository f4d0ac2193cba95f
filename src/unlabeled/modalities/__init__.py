"""Kinds of data: what reading, cutting and distorting mean for each."""

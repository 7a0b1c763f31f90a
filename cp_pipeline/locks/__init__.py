"""Locks and scratch folders: which process uses what, and what killed processes left behind."""

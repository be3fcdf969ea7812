"""Drawings of graphs and runs."""

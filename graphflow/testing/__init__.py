"""Fakes and checks for tests of graphs."""

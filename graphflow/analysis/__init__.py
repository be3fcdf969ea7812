"""What the records of runs say when they are laid side by side."""

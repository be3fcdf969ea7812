"""What the source of nodes and routers says of the fields that they use; nothing is run."""

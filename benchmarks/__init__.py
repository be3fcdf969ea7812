"""graphflow beside other engines: the same work, in turn, on the same machine."""

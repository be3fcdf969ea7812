"""The state: schema, reducers, updates, the view nodes get, and its JSON form."""

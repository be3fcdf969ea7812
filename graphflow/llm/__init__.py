"""The chat client: what a node calls as `ctx.llm`."""

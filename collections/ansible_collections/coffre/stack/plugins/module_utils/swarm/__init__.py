"""The swarm that stacks run on: what its hosts are like, what keeps them from being one, who joins and who unlocks."""

"""The fault suite: the agent is killed, cut off and refused at each of its calls; docs/reliability.md explains it."""

"""Loads for the scheduler and the service: live streams and requests, as an open loop offers them."""

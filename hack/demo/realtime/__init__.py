"""The demo of a RealtimeEndpoint: up, asked, crowded, calm, asleep and awake again, with figures of all of it."""

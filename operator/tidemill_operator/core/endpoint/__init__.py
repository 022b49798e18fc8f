"""Pure decisions about a RealtimeEndpoint: its load, its size, its revisions, its status."""

"""Pure decisions: a frozen snapshot and `now` go in, a plan comes out. No Kopf, no client, no clock."""

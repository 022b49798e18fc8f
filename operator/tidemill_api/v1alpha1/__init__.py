"""Version v1alpha1 of the API: one module per kind and one for what kinds share."""

"""Pure builders of child manifests: API types in, dicts out."""

"""What runs inside Ray: validation, the batch driver, the row engine. Never Kubernetes."""

"""The demo of a BatchInferenceJob: a file of requests in, files of results out, judged from the files alone."""

"""TFLite files as networks: every operator priced, known to be free, or unsupported and named."""

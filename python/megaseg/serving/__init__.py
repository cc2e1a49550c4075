"""The service: models over HTTP and gRPC (Open Inference Protocol), batched across callers; extra ``serve``."""

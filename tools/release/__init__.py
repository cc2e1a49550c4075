"""What a release consists of, built on one Linux machine: docs/release.md."""

"""What pretraining gives: runs whose logs are kept, and the tables of docs/pretraining.md made of them."""

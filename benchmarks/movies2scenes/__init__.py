"""What metadata of movies teaches: runs whose logs are kept, and the tables of docs/movies2scenes.md made of them."""
